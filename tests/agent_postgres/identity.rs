//! Who a database is: every difference is refused with both sides.

use switchback::{
    api::{Environment, Reason},
    protocol::{Answer, DatabaseFacts, DatabaseTarget, InspectParameters, InspectResult, Marker, Refusal},
};

use crate::{
    bench::{Bench, applied, done, refused},
    postgres::{Login, Postgres},
};

fn changed(
    bench: &Bench,
    facts: &DatabaseFacts,
    change: impl FnOnce(&mut DatabaseTarget, &mut Marker),
) -> DatabaseTarget {
    let mut target = bench.target(Some(facts));
    let mut marker = facts.identity.marker.clone().unwrap();
    change(&mut target, &mut marker);
    if let Some(expect) = &mut target.expect {
        expect.marker = Some(marker);
    }
    target
}

#[test]
fn threat_t13_another_database_is_refused_with_both_sides() {
    let (bench, facts) = Bench::marked("identity");
    let identity = facts.identity.clone();
    let marker = identity.marker.clone().unwrap();
    let cases: [(&str, DatabaseTarget, Vec<String>); 7] = [
        (
            "system identifier",
            changed(&bench, &facts, |target, _| target.expect.as_mut().unwrap().system_identifier = "1".into()),
            vec![format!("system identifier was 1, is {}", identity.system_identifier)],
        ),
        (
            "oid",
            changed(&bench, &facts, |target, _| target.expect.as_mut().unwrap().oid = 1),
            vec![format!("oid was 1, is {}", identity.oid)],
        ),
        (
            "name",
            changed(&bench, &facts, |target, _| target.expect.as_mut().unwrap().name = "other".into()),
            vec!["name was other, is identity".into()],
        ),
        (
            "marker",
            changed(&bench, &facts, |_, marker| marker.uuid = uuid::Uuid::nil()),
            vec![format!("marker was 00000000-0000-0000-0000-000000000000, is {}", marker.uuid)],
        ),
        (
            "epoch",
            changed(&bench, &facts, |_, marker| marker.epoch = 7),
            vec![format!("epoch was 7, is {}: an older copy", marker.epoch)],
        ),
        (
            "endpoint",
            changed(&bench, &facts, |target, _| target.endpoint = Some("10.0.0.1:5432".into())),
            vec![format!("endpoint was 10.0.0.1:5432, the Secret says {}", facts.endpoint)],
        ),
        (
            "environment",
            changed(&bench, &facts, |target, _| target.environment = Environment::Staging),
            vec!["environment is declared Staging, the marker says Production".into()],
        ),
    ];
    for (what, target, says) in cases {
        let said = refused(bench.mark(&target), Reason::IdentityUncertain);
        assert!(says.iter().all(|says| said.contains(says)), "{what}: {said}");
        let seen = bench.inspect(&target, None).result;
        assert!(
            matches!(&seen.database, Some(Answer::Refused(Refusal { reason: Reason::IdentityUncertain, .. }))),
            "{what}: {seen:?}"
        );
    }
}

#[test]
fn input_30_a_database_that_is_gone_or_made_anew_is_not_the_one_that_was_recorded() {
    let (bench, facts) = Bench::marked("anew");
    let admin = Postgres::shared().superuser("postgres");
    admin.sql("DROP DATABASE anew");
    let said = refused(bench.mark(&bench.target(Some(&facts))), Reason::IdentityUncertain);
    assert!(said.contains("\"anew\" does not exist"), "{said}");
    admin.sql("CREATE DATABASE anew OWNER anew");
    let said = refused(bench.mark(&bench.target(Some(&facts))), Reason::IdentityUncertain);
    assert!(said.contains("oid was") && said.contains("is none"), "{said}");
}

#[test]
fn a_marker_is_made_once_and_the_epoch_rises_at_each_write() {
    let (bench, facts) = Bench::marked("marker");
    let first = facts.identity.marker.clone().unwrap();
    assert_eq!((first.epoch, first.environment), (1, Environment::Production));
    let again = done(bench.mark(&bench.target(None))).identity.marker.unwrap();
    assert_eq!((again.uuid, again.epoch), (first.uuid, 2));
    let result = applied(bench.migrate(&bench.sql(&facts, &[("1.sql", "SELECT 1")])));
    assert_eq!(result.database.unwrap().identity.marker.unwrap().epoch, 3);
    // Another role may read who the database is.
    let reader = Postgres::shared().database("marker_reader");
    let reader = Postgres::shared().login("marker", "marker_reader", &reader.password);
    assert_eq!(reader.sql("SELECT epoch FROM switchback.identity"), "3");
}

#[test]
fn a_role_of_its_own_migrates_when_it_may_act_as_the_owner() {
    let bench = Bench::new("roles");
    let admin = Postgres::shared().superuser("roles");
    let login = |name: &str, member: &str| {
        admin.sql(&format!("CREATE ROLE {name} LOGIN PASSWORD 'p' IN ROLE {member}"));
        Postgres::shared().login("roles", name, "p")
    };
    let (migrator, backup) = (Bench::of(login("roles_migrate", "roles")), login("roles_backup", "pg_read_all_data"));
    let facts = done(migrator.mark(&migrator.target(None)));
    let parameters = migrator.sql(&facts, &[("1.sql", "SET ROLE roles; CREATE TABLE t ()")]);
    let facts = applied(migrator.migrate(&parameters)).database.unwrap();
    for secret in [&bench.login.secret, &backup.secret] {
        let other = DatabaseTarget { secret: secret.clone(), ..bench.target(Some(&facts)) };
        let seen = InspectParameters { database: Some(other), storages: vec![], migration: None, schema: false };
        let seen = bench.run::<InspectResult>("inspect", &seen).result;
        assert!(matches!(&seen.database, Some(Answer::Done(seen)) if seen.identity == facts.identity), "{seen:?}");
    }
    // What somebody else has laid there is nobody's marker.
    admin.sql("ALTER SCHEMA switchback OWNER TO roles_backup");
    let said = refused(migrator.mark(&migrator.target(Some(&facts))), Reason::IdentityUncertain);
    assert!(said.contains("schema switchback belongs to roles_backup"), "{said}");
}

#[test]
fn the_schema_is_read_where_it_is_asked_for_and_another_one_reads_differently() {
    let bench = Bench::new("schema_of");
    done(bench.mark(&bench.target(None)));
    let seen = |schema| {
        let database = Some(bench.target(None));
        let asked = InspectParameters { database, storages: vec![], migration: None, schema };
        bench.run::<InspectResult>("inspect", &asked).result.schema
    };
    let read = || match seen(true) {
        Some(Answer::Done(schema)) => schema,
        other => panic!("{other:?}"),
    };
    assert_eq!(seen(false), None);
    let before = read();
    assert_eq!(before.len(), 64);
    bench.login.sql("CREATE TABLE carts (id bigint)");
    let with = read();
    assert_ne!(with, before);
    bench.login.sql("INSERT INTO carts VALUES (1)");
    assert_eq!(read(), with, "rows are no schema");
    bench.login.sql("DROP TABLE carts");
    assert_eq!(read(), before);
}

#[test]
fn two_who_mark_at_once_make_one_marker() {
    let bench = Bench::new("twice");
    let marks: Vec<DatabaseFacts> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..4).map(|_| scope.spawn(|| done(bench.mark(&bench.target(None))))).collect();
        running.into_iter().map(|mark| mark.join().unwrap()).collect()
    });
    let uuid = marks[0].identity.marker.clone().unwrap().uuid;
    assert!(marks.iter().all(|facts| facts.identity.marker.as_ref().is_some_and(|marker| marker.uuid == uuid)));
    assert_eq!(bench.login.sql("SELECT count(*), max(epoch) FROM switchback.identity"), "1|4");
}

#[test]
fn what_was_never_marked_is_not_migrated() {
    let bench = Bench::new("unmarked");
    let seen = bench.inspect(&bench.target(None), None).result;
    let Some(Answer::Done(facts)) = seen.database else { panic!("{seen:?}") };
    let parameters = bench.command(&facts, &["true"]);
    refused(bench.migrate(&parameters), Reason::NotMarked);
}

/// Somebody who may create schemas in a database lays ours before we do.
fn plant(name: &str, what: &str) -> (Bench, Login) {
    let bench = Bench::new(name);
    let planter = format!("{name}_planter");
    let password = Postgres::shared().database(&planter).password;
    Postgres::shared().superuser(name).sql(&format!("GRANT CREATE ON DATABASE {name} TO {planter}"));
    let planter = Postgres::shared().login(name, &planter, &password);
    planter.sql(&format!("CREATE SCHEMA switchback; {what}; GRANT ALL ON SCHEMA switchback TO PUBLIC"));
    (bench, planter)
}

#[test]
fn threat_t23_a_schema_that_somebody_laid_for_us_is_not_ours() {
    let (bench, planter) = plant(
        "planted",
        "CREATE TABLE switchback.identity (one boolean PRIMARY KEY, uuid uuid, environment text, epoch bigint); \
         GRANT ALL ON switchback.identity TO PUBLIC",
    );
    let said = refused(bench.mark(&bench.target(None)), Reason::IdentityUncertain);
    assert!(said.contains("schema switchback belongs to planted_planter"), "{said}");
    assert_eq!(planter.sql("SELECT count(*) FROM switchback.identity"), "0");
}

#[test]
fn threat_t23_code_in_a_view_that_somebody_laid_for_us_does_not_run_as_us() {
    let (bench, planter) = plant(
        "viewed",
        "CREATE TABLE switchback.loot (who text); GRANT ALL ON switchback.loot TO PUBLIC; \
         CREATE FUNCTION switchback.rob() RETURNS bigint LANGUAGE sql AS \
         'INSERT INTO switchback.loot VALUES (current_user) RETURNING 1::bigint'; \
         CREATE VIEW switchback.identity AS SELECT gen_random_uuid() AS uuid, 'Production'::text AS environment, \
         switchback.rob() AS epoch; GRANT ALL ON switchback.identity TO PUBLIC",
    );
    let seen = bench.inspect(&bench.target(None), None).result;
    assert!(
        matches!(&seen.database, Some(Answer::Refused(why)) if why.reason == Reason::IdentityUncertain),
        "{seen:?}"
    );
    refused(bench.mark(&bench.target(None)), Reason::IdentityUncertain);
    assert_eq!(planter.sql("SELECT count(*) FROM switchback.loot"), "0");
}

#[test]
fn threat_t23_a_function_of_the_same_name_in_public_is_not_called() {
    let (bench, facts) = Bench::marked("shadow");
    let admin = Postgres::shared().superuser("shadow");
    admin.sql(
        "CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'planted'; END $$; ALTER ROLE shadow SET search_path = public, pg_catalog",
    );
    applied(bench.migrate(&bench.sql(&facts, &[("1.sql", "CREATE TABLE t (id int)")])));
    assert_eq!(bench.login.sql("SELECT relnamespace::regnamespace FROM pg_class WHERE relname = 't'"), "public");
}
