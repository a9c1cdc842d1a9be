"""When the arms of tests/bench_race.py are looked at, and how they are scored. Without `trm`: tests/race_nano.py runs in another environment"""
GOAL = .95


class Clock:
    "Training seconds, looks that do not count, and when the goal was reached: at the first of two looks in a row, or at the last look"
    def __init__(self, score, limit=None):
        self.score, self.limit, self.seconds, self.next, self.hit, self.curve = score, limit, 0., .5, None, []

    def tick(self, seconds, step, last=False):
        "Add `seconds`; look now and then, and at the `last` step; True when it is over"
        self.seconds += seconds
        over = last or bool(self.limit and self.seconds>=self.limit)
        if self.seconds<self.next and not over: return False
        self.next = 1.5*self.seconds
        self.curve.append((step, round(self.seconds, 2), *self.score(over)))
        again = self.hit is not None
        if self.curve[-1][2]<GOAL: self.hit = None
        elif not again: self.hit = self.seconds
        return over or again and self.hit is not None

    @property
    def weights(self): return self.curve[-1][-1]  # which were better at the last look


def no_look(full):
    "A score for runs that only measure the time"
    return 0., 0., ''


def shares(predict, batches, full=True):
    "Exact boards and right cells; unless `full`, of the first batch alone if less than half of it is right"
    exact, cells, n = 0., 0., 0
    for b in batches:
        right = predict(b)==b['labels']
        exact, cells, n = exact+right.all(1).sum().item(), cells+right.float().mean(1).sum().item(), n+len(right)
        if not full and exact<n/2: break
    return round(exact/n, 4), round(cells/n, 4)


def better(found):
    "The better of several scores, with the name of what had it"
    name = max(found, key=lambda k: found[k])
    return *found[name], name


def half_life(steps):
    "The decay of an average with a half-life of a tenth of the steps"
    return .5**(10/max(steps, 10))
