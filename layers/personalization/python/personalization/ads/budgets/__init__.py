"""Money and attention that may be used up: campaign budgets, frequency caps, and the settlement of clicks and conversions.

accounts          what is counted, and the rules that hold wherever it is counted
store             commits a decision: its charges, its impressions and its record
shards            a campaign's money in DynamoDB
frequency_caps    how often a user saw an ad
settlement        how a click or a conversion is billed
"""
