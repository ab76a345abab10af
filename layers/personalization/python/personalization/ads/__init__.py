"""Ad decisions: which ad, in which slot, at what price, and why not the others.

One decision walks through these modules, in this order:

features        columns of a user, an ad and a place, as the model's encoder takes them (`exposure`: what the user saw before)
predict         P(click), P(conversion) and the ad's effect for each candidate
valuation       expected value and billed units of each candidate
eligibility     which candidates are blocked, and the reasons of losers
auction         slots, winners, prices and propensities (`exploration`: random choices with known probabilities)
delivery        budgets, frequency caps and pacing before the auction; charges and the commit after it (`pacing`, `budgets`)

`ad_catalog` is the table of ads that run now, `plan` the grid of hours, channels and creatives for one ad. Clock and
randomness are passed in; stores are read and written in `delivery`, `exposure`, `ad_catalog` and `budgets` alone.
"""
