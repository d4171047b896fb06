"""A month of a small web shop, event by event, in which every promise is kept.

Everything comes from one `random.Random`; moments are whole milliseconds after the month's
beginning and sums are cents, so that each machine makes the same rows.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any

SECOND = 1000
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND
BEGIN = dt.datetime(2025, 12, 11)
END = 29 * DAY + 18 * HOUR  # 2026-01-09 18:00
HOURS = (6, 3, 2, 1, 1, 2, 5, 9, 14, 18, 20, 22, 24, 21, 20, 19, 20, 24, 30, 36, 38, 34, 24, 13)
SALES = (8 * DAY + 12 * HOUR, 15 * DAY + 19 * HOUR, 22 * DAY + 20 * HOUR)  # a minute of rush each
RUSH = 34  # carts
LOW = 5  # units, from which on only what is reserved is ordered
HOLD = 900 * SECOND
SLOW = 40  # every so many requests one is slow, which leaves the 95th percentile alone

THINGS = ("lamp", "kettle", "blanket", "notebook", "backpack", "mug", "clock", "vase", "scarf",
          "knife", "board", "teapot", "candle", "mirror", "basket", "stool")  # fmt: skip
KINDS = ("Oak", "Brass", "Linen", "Felt", "Copper", "Glass", "Wool", "Slate", "Cork", "Enamel",
         "Walnut", "Steel", "Cotton", "Marble", "Rattan", "Clay")  # fmt: skip
SIZES = ("small", "medium", "large")
CATEGORIES = ("kitchen", "living", "office", "travel")
CARRIERS = (("DHL", "JD"), ("UPS", "1Z"), ("GLS", "GL"))
Row = list[Any]


class Month:
    """What happens in a month, by a queue of what is to come."""

    def __init__(self, rows: int) -> None:
        """Begin with stock and with the moments at which `rows` · 0.3 carts appear."""
        self.random = Random(20260109)  # noqa: S311
        self.rows: dict[str, list[Row]] = {}
        self.now = 0
        self.queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self.pushed = self.checkouts = 0
        carts, products = max(3, rows * 3 // 10), max(5, rows // 50)
        self.stock = [0] * (products + 1)
        self.held = [0] * (products + 1)
        self.coming = [False] * (products + 1)
        for _ in range(products):
            self._product()
        for moment in self._moments(carts - RUSH * len(SALES) if carts > 1000 else carts):
            self._after(moment, self._cart, None)
        for sale in SALES if carts > 1000 else ():
            for _ in range(RUSH):
                self._after(sale - self._between(2, 5, MINUTE), self._cart, sale)
        while self.queue and self.queue[0][0] <= END:
            self.now, _, happen, about = heappop(self.queue)
            happen(*about)
        self._browse("catalogue", carts * 9 // 2)
        self._browse("search", carts)
        self._browse("cart", carts * 3 // 5)
        log = sorted(
            (row for row in self.rows["request_log"] if row[4] <= END), key=lambda row: row[4]
        )
        self.rows["request_log"] = [[n, *row[1:]] for n, row in enumerate(log, 1)]

    def _after(self, delay: int, happen: Callable[..., None], *about: Any) -> None:
        self.pushed += 1
        heappush(self.queue, (self.now + delay, self.pushed, happen, about))

    def _add(self, table: str, *values: Any) -> Row:
        rows = self.rows.setdefault(table, [])
        rows.append([len(rows) + 1, *values])
        return rows[-1]

    def _between(self, low: int, high: int, unit: int) -> int:
        return int(unit * (low + (high - low) * self.random.random()))

    def _moments(self, count: int) -> list[int]:
        hours = self.random.choices(range(24), HOURS, k=count)
        days = self.random.choices(range(30), k=count)
        moments = (
            d * DAY + h * HOUR + self._between(0, 1, HOUR) for d, h in zip(days, hours, strict=True)
        )
        return sorted(moment for moment in moments)

    def _product(self) -> None:
        pick = self.random.choice
        number = len(self.rows.get("products", ())) + 1
        name = f"{pick(KINDS)} {pick(THINGS)}, {pick(SIZES)}"
        price = self.random.randint(5, 160) * 100 - self.random.choice((1, 5, 50))
        listed = dt.date(2025, self.random.randint(1, 11), self.random.randint(1, 28))
        self._add("products", f"SKU-{number:05d}", name, pick(CATEGORIES), price, listed)
        self._moved(number, "opening", self.random.choice((4, 8, 15, 30, 60)))

    def _moved(self, product: int, kind: str, quantity: int) -> None:
        self._add("stock_movements", product, kind, quantity, self.now)
        self.stock[product] += quantity
        self.coming[product] = self.coming[product] and kind != "delivery"

    def _cart(self, sale: int | None) -> None:
        customer = f"C{self.random.randrange(10**6):06d}"
        channel = self.random.choices(("web", "app", "phone"), (60, 37, 3))[0]
        cart = self._add("carts", customer, channel, self.now)
        top = len(self.stock) - 1
        # A few products are in many carts.
        items = {
            1 + int(top * self.random.random() ** 2): self.random.choice((1, 1, 1, 2))
            for _ in range(self.random.choice((1, 1, 2, 3)))
        }
        if sale:
            self._after(sale + self._between(6, 57, SECOND) - self.now, self._direct, cart, items)
        elif self.random.random() < 0.72:
            path = self._direct if self.random.random() < 0.15 else self._reserve
            self._after(self._between(20, 1200, SECOND), path, cart, items)

    def _direct(self, cart: Row, items: dict[int, int]) -> None:
        free = (
            min(self.stock[p] - LOW, self.stock[p] - self.held[p] - q) for p, q in items.items()
        )
        if all(units > 0 for units in free):
            self._order(cart, items)
        else:
            self._reserve(cart, items)

    def _reserve(self, cart: Row, items: dict[int, int]) -> None:
        there = {p: q for p, q in items.items() if self.stock[p] - self.held[p] >= q}
        held = [
            self._add(
                "reservations", cart[0], product, quantity, self.now, self.now + HOLD, None, None
            )
            for product, quantity in there.items()
        ]
        if not held:
            self._request("checkout", 409, self._key(), self.now)
            return
        for product, quantity in there.items():
            self.held[product] += quantity
        fate = self.random.random()
        if fate < 0.74:
            self._after(self._between(20, 890, SECOND), self._bought, cart, there, held)
        elif fate < 0.82:
            self._after(self._between(30, 880, SECOND), self._release, held, "customer")
        else:
            self._after(HOLD, self._release, held, "expiry")

    def _release(self, held: list[Row], by: str) -> None:
        for row in held:
            row[6:] = self.now, by
            self.held[row[2]] -= row[3]

    def _bought(self, cart: Row, items: dict[int, int], held: list[Row]) -> None:
        self._release(held, "order")
        self._order(cart, items)

    def _order(self, cart: Row, items: dict[int, int]) -> None:
        key, declined = self._key(), self.random.random() < 0.04
        price = {product: self.rows["products"][product - 1][4] for product in items}
        amount = sum(price[p] * q for p, q in items.items())
        order = self._add("orders", cart[0], cart[1], key, "placed", amount, self.now, None, None)
        for line, (product, quantity) in enumerate(items.items(), 1):
            self.rows.setdefault("order_lines", []).append(
                [order[0], line, product, quantity, price[product]]
            )
            self.stock[product] -= quantity
            if self.stock[product] < 10 and not self.coming[product] and product % 8:
                self.coming[product] = True
                more = self.random.choice((20, 40, 60))
                self._after(self._between(6, 96, HOUR), self._moved, product, "delivery", more)
        if self.random.random() < 0.02:
            self._request("checkout", 503, key, self.now - self._between(7, 9, SECOND))
        self._request("checkout", 402 if declined else 201, key, self.now)
        self._after(self._between(1, 9, 50), self._charge, order, items, declined)

    def _charge(self, order: Row, items: dict[int, int], declined: bool) -> None:
        row = self._add(
            "payments", order[0], order[3], "charge", order[5], "pending", self.now, None
        )
        self._after(self._between(8, 35, 100), self._charged, row, order, items, declined)

    def _charged(self, row: Row, order: Row, items: dict[int, int], declined: bool) -> None:
        row[5], row[7] = "failed" if declined else "succeeded", self.now
        if declined:
            self._after(200, self._fail, order, items, "payment declined")
            return
        order[4] = "paid"
        if self.random.random() < 0.025:
            why = self.random.choice(("address unknown", "suspected fraud"))
            self._after(self._between(2, 8, SECOND), self._fail, order, items, why)
        else:
            self._after(self._between(3, 98, 100), self._task, order, items)
            self._after(self._between(1, 5, SECOND), self._invoice, order)

    def _fail(self, order: Row, items: dict[int, int], why: str) -> None:
        paid = order[4] == "paid"
        order[4], order[7:] = "failed", (self.now, why)
        for product, quantity in items.items():
            self.stock[product] += quantity
        if paid:
            self._after(self._between(60, 7200, SECOND), self._refund, order)

    def _refund(self, order: Row) -> None:
        row = self._add("payments", order[0], None, "refund", order[5], "pending", self.now, None)
        self._after(self._between(1, 20, SECOND), self._refunded, row)

    def _refunded(self, row: Row) -> None:
        row[5], row[7] = "succeeded", self.now

    def _invoice(self, order: Row) -> None:
        number = f"R-{len(self.rows.get('invoices', ())) + 1:07d}"
        self._add("invoices", order[0], number, order[5], self.now)

    def _task(self, order: Row, items: dict[int, int]) -> None:
        station = f"P{self.random.randint(1, 6)}"
        task = self._add("packing_tasks", order[0], station, self.now, None)
        self._after(self._between(1, 40, HOUR // 2), self._packed, task, order, items)

    def _packed(self, task: Row, order: Row, items: dict[int, int]) -> None:
        task[4], order[4] = self.now, "packed"
        self._after(self._between(1, 40, HOUR), self._ship, task, order, items)

    def _ship(self, task: Row, order: Row, items: dict[int, int]) -> None:
        carrier, prefix = self.random.choice(CARRIERS)
        tracking = f"{prefix}{self.random.randrange(10**12):012d}"
        order[4] = "shipped"
        shipment = self._add("shipments", task[0], carrier, tracking, self.now, None)
        self._after(self._between(18, 72, HOUR), self._delivered, shipment, order, items)

    def _delivered(self, shipment: Row, order: Row, items: dict[int, int]) -> None:
        shipment[5] = self.now
        if self.random.random() < 0.09:
            product, quantity = self.random.choice(list(items.items()))
            self._after(self._between(1, 8, DAY), self._receive, order, product, quantity)

    def _receive(self, order: Row, product: int, quantity: int) -> None:
        good = self.random.random() < 0.85
        row = self._add("returns", order[0], product, quantity, "good" if good else "damaged",
                       self.now, None, None)  # fmt: skip
        self._after(self._between(1, 6, DAY), self._credit, row)
        if good:
            self._after(self._between(2, 72, HOUR), self._restock, row)

    def _credit(self, row: Row) -> None:
        row[6] = self.now

    def _restock(self, row: Row) -> None:
        row[7] = self.now
        self._moved(row[2], "restock", row[3])

    def _key(self) -> str:
        digits = f"{self.random.getrandbits(128):032x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    def _request(self, endpoint: str, status: int, key: str | None, done: int) -> None:
        self.checkouts += 1
        slow = self.checkouts % SLOW == 0
        took = self._between(52, 90, 100) if slow else self._between(6, 36, 100)
        # The answer ends a little after what it is about is done.
        self._add("request_log", endpoint, status, key, done - took * 3 // 5, took - 5, took)

    def _browse(self, endpoint: str, count: int) -> None:
        log = self.rows.setdefault("request_log", [])
        for n, moment in enumerate(self._moments(count), 1):
            chance = self.random.random()
            first = int(320 + 900 * chance if n % SLOW == 0 else 45 + 210 * chance * chance)
            status = 500 if chance > 0.9995 else 404 if chance < 0.004 else 200
            log.append([0, endpoint, status, None, moment, first, first + int(400 * chance)])
