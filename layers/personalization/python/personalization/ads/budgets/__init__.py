"""Money and attention that may be used up: campaign budgets and how often a user saw an ad."""

from personalization.ads.budgets.accounts import (
    Account,
    BudgetStatus,
    CappedUser,
    Charge,
    Committed,
    Refused,
    Repeated,
    Settlement,
    to_money,
    to_nanos,
)
from personalization.ads.budgets.memory import MemoryBudgets
from personalization.ads.budgets.store import Budgets

__all__ = [
    "Account",
    "BudgetStatus",
    "Budgets",
    "CappedUser",
    "Charge",
    "Committed",
    "MemoryBudgets",
    "Refused",
    "Repeated",
    "Settlement",
    "to_money",
    "to_nanos",
]
