"""The demo: what is asked about fresh street scenes, chosen without a look at the answers."""

from groundling.demo.asked import Replies, Requests, ask_all, check_tasks, requests
from groundling.demo.expressions import Question, ask, questions, show
from groundling.demo.held_out import HELD_OUT

__all__ = [
    "HELD_OUT",
    "Question",
    "Replies",
    "Requests",
    "ask",
    "ask_all",
    "check_tasks",
    "questions",
    "requests",
    "show",
]
