"""What can be asked of the loop is said in one place, and every door knows it."""

import dataclasses

from emofeedback.domain.optimization import LoopOptions, OptimizationRequest


def test_the_options_of_create_are_the_fields_of_a_request() -> None:
    fields = {field.name for field in dataclasses.fields(OptimizationRequest)}
    assert LoopOptions.__annotations__.keys() == fields - {"prompt", "target", "resume", "request_id"}
