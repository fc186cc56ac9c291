"""Services follow their load profile: replicas that are no longer wanted stop, so that others can borrow their GPUs."""

from __future__ import annotations

from dure.kernel.plan_rows import add_row, is_full
from dure.world.columns import DO_STOP, NONE, STOP_SCALED_DOWN, Columns
from dure.world.compiled import compiled
from dure.world.templates import follow_profile, has_too_many, least_needed, scale_down
from dure.world.transitions import clear_timer, set_timer


@compiled
def keep_to_profile(columns: Columns, service: int, now_ms: int) -> None:
    """A service's next step has come, or a replica of it came back to the queue: have it be as large as wanted now."""
    clear_timer(columns, service)
    follow_profile(columns, service, now_ms)
    while has_too_many(columns, service):
        if is_full(columns):
            set_timer(columns, service, now_ms)
            return
        replica = least_needed(columns, service)
        if replica == NONE:
            return
        scale_down(columns, replica, now_ms)
        add_row(columns, DO_STOP, replica, NONE, now_ms, STOP_SCALED_DOWN)
