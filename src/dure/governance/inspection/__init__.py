"""What can be found out about a result before anybody sees it. Content comes in as chunks and rows; findings come out.

A finding never releases anything: it is what a steward should know who decides.
"""
