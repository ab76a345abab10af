"""What to show next: scores, lists, reasons, explanations."""
