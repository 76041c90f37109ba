"""Rules of subscriptions: SQL filters, correlation filters and actions.

Sources: Microsoft's "Subscription rule SQL filter syntax", "Subscription rule SQL action syntax" and "Topic filters and
actions". Names of properties are case-insensitive in SQL, comparisons follow C#, and what is unknown is neither true
nor false.
"""
