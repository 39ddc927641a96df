"""The demo: what is asked about fresh street scenes, chosen without a look at the answers."""

from groundling.demo.expressions import Question, ask, questions, show
from groundling.demo.mdetr import MdetrAnswers, MdetrAsked, ask_mdetr, check_tasks, mdetr_questions

__all__ = [
    "MdetrAnswers",
    "MdetrAsked",
    "Question",
    "ask",
    "ask_mdetr",
    "check_tasks",
    "mdetr_questions",
    "questions",
    "show",
]
