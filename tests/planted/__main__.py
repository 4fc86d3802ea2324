"""`python -m tests.planted`: what the report says of each planted run, one line each."""

from .judging import all_judged

if __name__ == "__main__":
    planted, healthy = all_judged()
    for item in planted:
        print(f"{item.rank} (+{item.others}) {item.name} #{item.seed}: {item.first}")
    for item in healthy:
        print(f"{item.others} {item.name}: {item.verdict}")
