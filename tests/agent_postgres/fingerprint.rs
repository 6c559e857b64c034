//! What a schema is: what changes its fingerprint, and what must not.

use switchback::agent::postgres::{connect, fingerprint::Catalogue};

use crate::bench::Bench;

const SHOP: &str = "
    CREATE TYPE size AS ENUM ('small', 'large');
    CREATE DOMAIN amount AS numeric(10, 2) NOT NULL CHECK (VALUE >= 0);
    CREATE TYPE pair AS (a int, b text);
    CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n * 2';
    CREATE AGGREGATE total(int) (sfunc = int4pl, stype = int, initcond = '0');
    CREATE TABLE people (id bigserial PRIMARY KEY, name text COLLATE \"C\" NOT NULL DEFAULT 'nobody', size size);
    CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, who bigint REFERENCES people, paid amount,
        doubled int GENERATED ALWAYS AS (1 + 1) STORED, CONSTRAINT few CHECK (id < 1000000));
    CREATE INDEX by_who ON orders (who) WHERE id > 0;
    CREATE VIEW paid AS SELECT id FROM orders WHERE paid > 0;
    CREATE MATERIALIZED VIEW sums AS SELECT count(*) FROM orders;
    CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TRIGGER note BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION noted();
    ALTER TABLE people ENABLE ROW LEVEL SECURITY;
    CREATE POLICY own ON people FOR SELECT TO public USING (name = current_user);
    CREATE RULE quiet AS ON DELETE TO people DO INSTEAD NOTHING;
    CREATE STATISTICS related ON id, name FROM people;
    CREATE TABLE parent (id int, at date) PARTITION BY RANGE (id);
    CREATE TABLE part_1 PARTITION OF parent FOR VALUES FROM (0) TO (10);
    CREATE SEQUENCE numbers;
";

/// Each of these is another schema.
const CHANGES: [(&str, &str); 22] = [
    ("CREATE TABLE new ()", "table public.new is new"),
    ("DROP TABLE orders CASCADE", "view public.paid is gone"),
    ("ALTER TABLE orders ADD COLUMN note text", "column public.orders.note is new"),
    ("ALTER TABLE orders ALTER COLUMN who TYPE int", "column public.orders.who is"),
    (
        "ALTER TABLE people ALTER COLUMN name SET DEFAULT 'x'",
        "column public.people.name is \"text not null default 'x'",
    ),
    ("ALTER TABLE people ALTER COLUMN name DROP NOT NULL", "column public.people.name is"),
    ("ALTER TABLE orders DROP CONSTRAINT few", "constraint few on public.orders is gone"),
    ("ALTER TABLE orders DROP CONSTRAINT orders_who_fkey", "constraint orders_who_fkey on public.orders is gone"),
    ("DROP INDEX by_who; CREATE INDEX by_who ON orders (who)", "index public.by_who is"),
    ("CREATE OR REPLACE VIEW paid AS SELECT id FROM orders WHERE paid > 1", "view public.paid is"),
    (
        "CREATE OR REPLACE FUNCTION twice(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n + n'",
        "function public.twice(n integer) is",
    ),
    (
        "CREATE FUNCTION twice(n bigint) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "function public.twice(n bigint) is new",
    ),
    ("DROP AGGREGATE total(int)", "function public.total(integer) is gone"),
    ("ALTER TABLE orders DISABLE TRIGGER note", "trigger note on public.orders is"),
    ("ALTER TABLE people DISABLE ROW LEVEL SECURITY", "table public.people is"),
    ("ALTER POLICY own ON people USING (true)", "policy own on public.people is"),
    ("DROP RULE quiet ON people", "rule quiet on public.people is gone"),
    ("ALTER TYPE size ADD VALUE 'huge'", "type public.size is"),
    ("ALTER DOMAIN amount DROP NOT NULL", "type public.amount is"),
    ("ALTER TYPE pair ADD ATTRIBUTE c int", "column public.pair.c is new"),
    ("CREATE SCHEMA more", "schema more is new"),
    ("ALTER SEQUENCE numbers INCREMENT 2", "sequence public.numbers is"),
];

/// None of these is.
const SAME: [&str; 10] = [
    "COMMENT ON TABLE orders IS 'theirs'",
    "GRANT SELECT ON orders TO PUBLIC",
    "INSERT INTO people (name) VALUES ('anna')",
    "SELECT nextval('numbers')",
    "CREATE TEMP TABLE mine (id int)",
    "CREATE TABLE schema_migrations (version text PRIMARY KEY, number serial)",
    "CREATE TABLE part_2 PARTITION OF parent FOR VALUES FROM (10) TO (20)",
    "VACUUM FULL orders",
    "REFRESH MATERIALIZED VIEW sums",
    "CREATE TABLE other (b int, a int); DROP TABLE other",
];

async fn read(bench: &Bench) -> Catalogue {
    let session = connect(&bench.target(None), "test").await.unwrap();
    Catalogue::read(&session.client).await.unwrap()
}

#[tokio::test]
async fn what_users_made_is_in_the_fingerprint_and_nothing_else() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let bench = Bench::new("fingerprint");
    bench.login.sql(SHOP);
    let before = read(&bench).await;
    assert_eq!(before, read(&bench).await);
    bench.mark(&bench.target(None));
    for statement in SAME {
        bench.login.sql(statement);
        let after = read(&bench).await;
        assert_eq!(after.fingerprint(), before.fingerprint(), "{statement}: {:#?}", before.changes_to(&after));
    }
    // A partition is no part of the fingerprint, but a change.
    assert_eq!(before.changes_to(&read(&bench).await)[0], "column public.part_2.at is new");
    bench.login.sql("DROP TABLE part_2");
    for (statement, told) in CHANGES {
        bench.login.sql(SHOP_ANEW);
        bench.login.sql(SHOP);
        let fresh = read(&bench).await;
        assert_eq!(fresh.fingerprint(), read(&bench).await.fingerprint());
        bench.login.sql(statement);
        let after = read(&bench).await;
        assert_ne!(after.fingerprint(), fresh.fingerprint(), "{statement}");
        let changes = fresh.changes_to(&after);
        assert!(changes.iter().any(|change| change.starts_with(told)), "{statement}: {changes:#?}");
    }
}

const SHOP_ANEW: &str = "DROP SCHEMA IF EXISTS more CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public";

#[tokio::test]
async fn the_same_schema_in_another_order_has_the_same_fingerprint() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (one, two) = (Bench::new("order_one"), Bench::new("order_two"));
    one.login.sql("CREATE TABLE t (a int, b text); CREATE TABLE u (id int); CREATE INDEX i ON t (a)");
    two.login.sql("CREATE TABLE u (id int); CREATE TABLE t (b text); ALTER TABLE t ADD a int; CREATE INDEX i ON t (a)");
    assert_eq!(read(&one).await.fingerprint(), read(&two).await.fingerprint());
    two.login.sql("ALTER TABLE t ALTER a SET NOT NULL");
    assert_ne!(read(&one).await.fingerprint(), read(&two).await.fingerprint());
}
