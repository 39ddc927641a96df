"""The demo: what is asked about fresh street scenes, chosen without a look at the answers."""

from groundling.demo.expressions import Question, ask, questions, show
from groundling.demo.family import FamilyAnswers, FamilyAsked, ask_family, family_questions

__all__ = [
    "FamilyAnswers",
    "FamilyAsked",
    "Question",
    "ask",
    "ask_family",
    "family_questions",
    "questions",
    "show",
]
