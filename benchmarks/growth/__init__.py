"""What happens when there are many collectors: a calculation and a simulation of one day.

`costs.py` has what a unit of work costs, as measured. `layout.py` computes from these how busy each
part of a given layout is, and which saturates first. `day.py` simulates a day with outages: what
waits where, how much of it, and until when. `docs/growth.md` has the results.
"""
