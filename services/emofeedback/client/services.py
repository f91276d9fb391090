"""The services, by the names of their Ray Serve applications; the trainer has a server of its own."""

from __future__ import annotations

from emofeedback.client.connection import Service
from emofeedback.v1.generator_pb2_grpc import GeneratorServiceStub
from emofeedback.v1.judge_pb2_grpc import JudgeServiceStub
from emofeedback.v1.optimizer_pb2_grpc import PromptOptimizerServiceStub
from emofeedback.v1.trainer_pb2_grpc import TrainerServiceStub

GENERATOR = Service("generator", GeneratorServiceStub)
JUDGE = Service("judge", JudgeServiceStub)
OPTIMIZER = Service("optimizer", PromptOptimizerServiceStub)
TRAINER = Service("trainer", TrainerServiceStub)
