"""User state in DynamoDB: events of users and sessions, and the table that budgets and exposures share."""

from personalization.state.items import Kind, partition_key
from personalization.state.store import AppendResult, StateStore, UserState, WindowsWritten

__all__ = ["AppendResult", "Kind", "StateStore", "UserState", "WindowsWritten", "partition_key"]
