"""What the upgrade has to keep, as SQL, and how it is seen again."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import psycopg2

if TYPE_CHECKING:
    from support.environment import Environment

ROLES = """
CREATE ROLE "Read Only" NOLOGIN;
CREATE ROLE clerk LOGIN PASSWORD 'clerk s3cret' CONNECTION LIMIT 7 VALID UNTIL '2031-01-02 03:04:05+00';
GRANT "Read Only" TO clerk;
GRANT pg_read_all_stats TO clerk WITH ADMIN OPTION;
ALTER ROLE clerk SET work_mem = '12MB';
ALTER ROLE clerk IN DATABASE shop SET search_path = 'sales, public';
ALTER DATABASE shop SET statement_timeout = '17s';
COMMENT ON ROLE clerk IS 'counts the money';
"""

OBJECTS = """
CREATE EXTENSION hstore; CREATE EXTENSION pgcrypto; CREATE EXTENSION pg_trgm SCHEMA public;
CREATE SCHEMA sales AUTHORIZATION clerk;
CREATE TYPE sales.mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN sales.price AS numeric(10, 2) CHECK (VALUE >= 0);
CREATE TABLE sales.item (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, price sales.price, mood sales.mood,
  tags hstore, doc jsonb, amount double precision, at timestamptz, raw bytea,
  label text GENERATED ALWAYS AS (upper(name)) STORED);
INSERT INTO sales.item (name, price, mood, tags, doc, amount, at, raw)
  SELECT 'Zoë ' || n || E'\\nSET transaction_timeout = 0;', n / 7.0, 'happy', hstore('k', n::text), '{"a": [1, null]}',
  n / 3.0, '2020-01-01'::timestamptz + n * '1 minute'::interval, decode(md5(n::text), 'hex')
  FROM generate_series(1, 3000) AS n;
CREATE INDEX item_name ON sales.item USING gin (name gin_trgm_ops);
CREATE TABLE sales.day (day date, n int DEFAULT 1) PARTITION BY RANGE (day);
CREATE TABLE sales.day_1 PARTITION OF sales.day FOR VALUES FROM ('2020-01-01') TO ('2020-02-01');
CREATE TABLE sales.day_2 PARTITION OF sales.day DEFAULT;
INSERT INTO sales.day SELECT '2020-01-01'::date + n FROM generate_series(0, 99) AS n;
CREATE INDEX ON sales.day (day);
CREATE VIEW sales.cheap AS SELECT * FROM sales.item WHERE price < 10;
CREATE MATERIALIZED VIEW sales.total AS SELECT sum(price) FROM sales.item;
CREATE FUNCTION sales.twice(int) RETURNS int LANGUAGE sql AS 'SELECT $1 * 2';
CREATE FUNCTION sales.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.at = now(); RETURN NEW; END';
CREATE TRIGGER touched BEFORE UPDATE ON sales.item FOR EACH ROW EXECUTE FUNCTION sales.touch();
ALTER TABLE sales.item ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON sales.item USING (price > 1);
GRANT SELECT ON sales.item TO "Read Only"; GRANT ALL ON sales.day TO "Read Only";
CREATE SEQUENCE sales.tickets INCREMENT 5 CACHE 3; SELECT nextval('sales.tickets') FROM generate_series(1, 4);
COMMENT ON TABLE sales.item IS 'what we sell'; COMMENT ON COLUMN sales.item.price IS 'in €';
SELECT lo_from_bytea(4711, repeat('large', 9000)::bytea);
SELECT lo_from_bytea(4712, ''); ALTER LARGE OBJECT 4712 OWNER TO clerk;
CREATE PUBLICATION news FOR TABLE sales.item;
CREATE UNLOGGED TABLE public."Odd "" name" (a int, "B" text); INSERT INTO "Odd "" name" VALUES (1, NULL);
CREATE TABLE nothing ();
"""

OTHER = """
CREATE DATABASE "it's \\ other" OWNER clerk CONNECTION LIMIT 9;
"""

# ruff: noqa: E501
FACTS = {
    "rows": "SELECT count(*), md5(string_agg(i::text, ',' ORDER BY id)) FROM sales.item AS i",
    "partitions": "SELECT tableoid::regclass::text, count(*) FROM sales.day GROUP BY 1 ORDER BY 1",
    "sequences": "SELECT last_value, is_called FROM sales.tickets UNION SELECT last_value, is_called FROM sales.item_id_seq ORDER BY 1",
    "roles": "SELECT rolname, rolpassword, rolconnlimit, rolvaliduntil FROM pg_authid WHERE rolname !~ '^pg_' ORDER BY 1",
    "members": "SELECT roleid::regrole::text, member::regrole::text FROM pg_auth_members WHERE member::regrole::text = 'clerk' ORDER BY 1",
    "settings": "SELECT setdatabase <> 0, setrole <> 0, setconfig FROM pg_db_role_setting ORDER BY 3",
    "extensions": "SELECT extname, extnamespace::regnamespace::text FROM pg_extension ORDER BY 1",
    "large objects": "SELECT oid, lomowner::regrole::text, md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY 1",
    "comments": "SELECT obj_description('sales.item'::regclass), col_description('sales.item'::regclass, 3)",
    "databases": "SELECT datname, datdba::regrole::text, datconnlimit FROM pg_database ORDER BY 1",
    "revision": "SELECT version_num FROM alembic_version",
}  # fmt: skip


def fill(environment: Environment) -> Environment:
    """Declare, apply, and make one of everything."""
    environment.migrations("userdata", "orders").apply()
    environment.query("INSERT INTO userdata (name) VALUES ('Zoë')")
    for script in (ROLES, OBJECTS, OTHER):
        environment.query(script)
    return environment


def facts(environment: Environment) -> dict[str, list[tuple[object, ...]]]:
    """Return what must be the same afterwards."""
    found = {}
    with closing(psycopg2.connect(environment.url, connect_timeout=5)) as connection, connection.cursor() as cursor:
        for name, question in FACTS.items():
            cursor.execute(question)
            found[name] = cursor.fetchall()
    return found
