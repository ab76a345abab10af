"""What is known of users between calls, in DynamoDB."""

from personalization.state.store import Appended, StateStore, UserState, Written

__all__ = ["Appended", "StateStore", "UserState", "Written"]
