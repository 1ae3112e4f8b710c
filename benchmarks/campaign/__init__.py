"""The campaign: many varied fits, and every claim they make held against evidence."""
