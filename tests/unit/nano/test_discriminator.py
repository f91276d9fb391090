import torch

from emofeedback_trainer.nano.models.discriminator import Discriminator, discriminator_loss, realism_losses


def test_it_learns_to_tell_sharp_crops_from_soft_ones_and_the_decoder_hears_of_it() -> None:
    torch.manual_seed(0)
    sharp = torch.where(torch.rand(8, 3, 8, 8) < 0.5, -1.0, 1.0).repeat_interleave(4, 2).repeat_interleave(4, 3)
    soft = torch.nn.functional.avg_pool2d(sharp, 5, 1, 2)
    model = Discriminator()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, betas=(0.0, 0.99))
    first = discriminator_loss(model, sharp, soft).item()
    for _ in range(60):
        optimizer.zero_grad()
        loss = discriminator_loss(model, sharp, soft)
        torch.autograd.backward(loss)
        optimizer.step()
    assert loss.item() < 0.7 * first
    with torch.no_grad():
        told_of_soft, told_of_sharp = realism_losses(model, sharp, soft), realism_losses(model, sharp, sharp)
    assert told_of_sharp.adversarial < told_of_soft.adversarial
    assert told_of_sharp.features < 1e-5 < told_of_soft.features


def test_verdicts_are_of_patches_in_two_sizes() -> None:
    verdicts, features = Discriminator()(torch.zeros(2, 3, 64, 32))
    assert [verdict.shape for verdict in verdicts] == [(2, 1, 8, 4), (2, 1, 4, 2)]
    assert len(features) == 10


def test_crops_without_a_picture_that_they_should_be_are_judged_and_not_compared() -> None:
    torch.manual_seed(0)
    model, drawn, painted = Discriminator(), torch.rand(2, 3, 32, 32), torch.rand(1, 3, 32, 32)
    alone, beside = realism_losses(model, drawn, drawn), realism_losses(model, drawn, torch.cat([drawn, painted]))
    torch.testing.assert_close(beside.features, alone.features)
    assert beside.adversarial != alone.adversarial
