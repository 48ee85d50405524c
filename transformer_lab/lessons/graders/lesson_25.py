"""Checks of lesson 25, Learning in context."""

from __future__ import annotations

import torch

from transformer_lab.lessons.graders.base import Case, Grader
from transformer_lab.lessons.solutions import lesson_25 as solutions


def _case(texts: int, heads: int, positions: int, d_head: int, n_tasks: int, seed: int) -> Case:
    chance = torch.Generator().manual_seed(seed)
    z = torch.randn(texts, heads, positions, d_head, generator=chance)
    more = torch.randint(n_tasks, (texts - n_tasks,), generator=chance)
    tasks = torch.cat([torch.arange(n_tasks), more])[torch.randperm(texts, generator=chance)]
    return Case(f"{texts} texts of {n_tasks} tasks", (z, tasks, n_tasks))


VECTORS = Grader(
    reference=solutions.function_vectors,
    cases=lambda: [_case(9, 2, 5, 3, 4, 0), _case(7, 3, 4, 2, 3, 1), _case(12, 1, 6, 4, 5, 2)],
    shape_hint="a vector for each task and head: [task, head, d_head]",
    mistakes="""
# position
- z[:, :, -1]
+ z.mean(dim=2)
  You averaged over the positions. The answer is predicted at the last one: take the output there.

- z[:, :, -1]
+ z[:, :, 0]
  You took the first position. It has seen no example; take the last.

- z[:, :, -1]
+ z[:, :, -2]
  You took the last position but one. The text ends with the letter that is asked for, at the last.

# texts
- last[tasks == task]
+ last
  You averaged over all texts, so every task gets the same vector. Take the texts of each task.

- last[tasks == task]
+ last[tasks != task]
  You averaged over the texts of all other tasks.

# mean
- .mean(dim=0)
+ .sum(dim=0)
  This is the sum over the texts. Take their mean, or tasks with more texts get longer vectors.

- .mean(dim=0)
+ [0]
  This is one text of each task, which holds more than its task. Take the mean over all of them.
""",
)
