"""What a statement says that it does to tables."""

from __future__ import annotations

import pytest

from provision.review.touching import Touch, of_statement, worst

TABLES = {("public", "orders"), ("shop", "lines"), ("a", "twice"), ("b", "twice")}


@pytest.mark.parametrize(
    ("statement", "touches"),
    [
        ("ALTER TABLE orders ADD COLUMN a int", ["public.orders locked"]),
        ("ALTER TABLE ONLY shop.lines SET (fillfactor = 70)", []),
        ("ALTER TABLE orders VALIDATE CONSTRAINT c, ADD a int", ["public.orders locked"]),
        ("ALTER TABLE orders ADD a text DEFAULT ', DROP b', ADD CHECK (f(a, b))", ["public.orders locked"]),
        ("ALTER TABLE orders ADD a numeric(8, 2), DROP b", ["public.orders loses a column"]),
        ('ALTER TABLE orders ADD ", drop" int, ALTER b SET STATISTICS 9', ["public.orders locked"]),
        ('ALTER TABLE orders ADD "it\'s" int, DROP "isn\'t"', ["public.orders loses a column"]),
        ("ALTER TABLE orders DISABLE TRIGGER ALL", ["public.orders locked for writers"]),
        ("ALTER TABLE orders ADD a int GENERATED ALWAYS AS IDENTITY", ["public.orders may be rewritten"]),
        ("ALTER TABLE orders ATTACH PARTITION lines FOR VALUES IN (1)", ["shop.lines locked"]),
        ("ALTER TABLE orders DETACH PARTITION lines CONCURRENTLY", []),
        (
            "ALTER TABLE orders DROP CONSTRAINT c, ADD FOREIGN KEY (a) REFERENCES lines",
            ["shop.lines locked for writers", "public.orders locked"],
        ),
        ("alter table if exists lines alter total type numeric(18, 6)", ["shop.lines may be rewritten"]),
        ("ALTER TABLE orders ALTER COLUMN a SET DATA TYPE text", ["public.orders may be rewritten"]),
        ("ALTER TABLE orders ADD COLUMN n BIGSERIAL", ["public.orders may be rewritten"]),
        ("ALTER TABLE orders ADD COLUMN serial_no text", ["public.orders locked"]),
        ("ALTER TABLE orders VALIDATE CONSTRAINT c", []),
        ("ALTER TABLE orders DROP CONSTRAINT c", ["public.orders locked"]),
        ("ALTER TABLE orders ALTER a DROP NOT NULL", ["public.orders locked"]),
        ("ALTER TABLE orders DROP a", ["public.orders loses a column"]),
        ("ALTER TABLE orders DROP COLUMN IF EXISTS a", ["public.orders loses a column"]),
        (
            "ALTER TABLE shop.lines ADD CONSTRAINT f FOREIGN KEY(o) REFERENCES orders (id)",
            ["public.orders locked for writers", "shop.lines locked for writers"],
        ),
        ("CREATE TABLE new (o int REFERENCES orders)", ["public.orders locked for writers", "public.new created"]),
        ("CREATE INDEX i ON orders (a)", ["public.orders locked for writers"]),
        ("CREATE UNIQUE INDEX CONCURRENTLY i ON orders (a)", []),
        ('CREATE INDEX "on" ON "Or""d".x USING gin (a)', ['Or"d.x locked for writers']),
        ("DROP TABLE IF EXISTS orders, shop.lines CASCADE", ["public.orders dropped", "shop.lines dropped"]),
        ("TRUNCATE orders", ["public.orders emptied"]),
        ("-- why\n/* so */ UPDATE lines SET a = 1", ["shop.lines rows changed"]),
        ("DELETE FROM twice", ["public.twice rows changed"]),
        ("VACUUM FULL orders", ["public.orders rewritten"]),
        ("LOCK TABLE orders IN SHARE MODE", ["public.orders locked for writers"]),
        ("LOCK orders IN ROW EXCLUSIVE MODE NOWAIT", []),
        ("LOCK orders, lines", ["public.orders locked", "shop.lines locked"]),
        ("REINDEX TABLE orders", ["public.orders locked for writers"]),
        ("REINDEX TABLE CONCURRENTLY orders", []),
        ("CREATE POLICY p ON orders USING (true)", ["public.orders locked"]),
        ("DROP TRIGGER IF EXISTS t ON shop.lines", ["shop.lines locked"]),
        ("WITH x AS (SELECT 1) UPDATE orders SET a = 1", ["public.orders rows changed"]),
        ("COPY lines (a, b) FROM STDIN", ["shop.lines rows changed"]),
        ("COPY lines TO STDOUT", []),
        ("GRANT REFERENCES ON orders TO x", []),
        ("DO $do$ BEGIN DROP TABLE orders; END $do$", []),
        ("CREATE TRIGGER t BEFORE INSERT ON orders EXECUTE FUNCTION f()", ["public.orders locked for writers"]),
        ("SELECT 1", []),
        ("COMMENT ON TABLE orders IS 'DROP TABLE orders'", []),
        ("INSERT INTO orders SELECT 'ALTER TABLE lines'", ["public.orders rows changed"]),
        ("", []),
    ],
)
def test_statement(statement: str, touches: list[str]) -> None:
    found = [f"{each.table[0]}.{each.table[1]} {each.what}" for each in of_statement(statement, TABLES)]
    assert found == touches


def test_the_worst_comes_first_and_once() -> None:
    every = [Touch(("a", "x"), "locked"), Touch(("a", "y"), "dropped"), Touch(("a", "x"), "rewritten")]
    assert [(each.table[1], each.what) for each in worst(every)] == [("y", "dropped"), ("x", "rewritten")]
    longer = [Touch(("a", "x"), "locked", "", 0.1), Touch(("a", "x"), "locked", "", 0.5)]
    assert [each.seconds for each in worst(longer)] == [0.5]
