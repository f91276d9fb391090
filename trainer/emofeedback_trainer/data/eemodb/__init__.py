"""EEmo-Logic's data set (arXiv 2602.01173): labels of many sources brought to one form, and questions about them."""
