//! Databases that mean harm, and secrets that must not leave.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use switchback::{
    agent::{
        manifest::Extension,
        scratch::{Request, client},
    },
    api::{ProofLevel, Reason},
    protocol::{Answer, BackupParameters},
};

use crate::{
    support::s3::S3,
    world::{SHOP, World, children, command, environment, files, s3_target},
};

#[tokio::test(flavor = "multi_thread")]
async fn threat_t23_code_in_a_dump_runs_as_no_superuser() {
    let world = World::start("SELECT 1").await;
    let spoils = world.path("spoils");
    fs::create_dir(&spoils).unwrap();
    fs::set_permissions(&spoils, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    // Runs at each row that is restored, and tells as whom.
    world.login.sql(&format!(
        "CREATE FUNCTION attack() RETURNS boolean LANGUAGE plpgsql AS $f$ BEGIN
           IF pg_catalog.current_setting('is_superuser') = 'on' THEN
             EXECUTE 'COPY (SELECT 1) TO PROGRAM ''touch {0}/superuser''';
           END IF;
           BEGIN EXECUTE 'COPY (SELECT 1) TO PROGRAM ''touch {0}/program'''; EXCEPTION WHEN OTHERS THEN NULL; END;
           BEGIN EXECUTE 'SET ROLE switchback_scratch';
             EXECUTE 'COPY (SELECT 1) TO PROGRAM ''touch {0}/role'''; EXCEPTION WHEN OTHERS THEN NULL; END;
           BEGIN EXECUTE 'COPY (SELECT 1) TO ''{0}/file'''; EXCEPTION WHEN OTHERS THEN NULL; END;
           RETURN true; END $f$;
         CREATE TABLE victims (id int CHECK (attack()));
         INSERT INTO victims VALUES (1), (2);",
        spoils.display()
    ));
    let _scratch = world.scratch();
    let parameters = BackupParameters { proof: ProofLevel::Restored, ..world.parameters(&[world.volume()]) };
    let result = world.backup(&parameters).await.unwrap();
    assert_eq!(result.rows, 2);
    assert!(files(&spoils).is_empty(), "{:?}", files(&spoils));
}

#[tokio::test(flavor = "multi_thread")]
async fn threat_t23_names_and_search_path_of_a_database_change_nothing() {
    let world = World::start(SHOP).await;
    world.login.sql(
        "CREATE SCHEMA \"a\"\"b; DROP TABLE orders\"; CREATE TABLE \"a\"\"b; DROP TABLE orders\".\"c'd\" (id int);
         CREATE FUNCTION public.count() RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint';
         CREATE FUNCTION public.format(text, name, name) RETURNS text LANGUAGE sql AS $$SELECT 'public.empty'$$;
         CREATE TABLE public.pg_class (id int); INSERT INTO public.pg_class VALUES (1);
         ALTER ROLE shop SET search_path = public, pg_catalog",
    );
    let _scratch = world.scratch();
    let parameters = BackupParameters { proof: ProofLevel::Restored, ..world.parameters(&[world.volume()]) };
    let result = world.backup(&parameters).await.unwrap();
    assert_eq!((result.tables, result.rows), (6, 1013));
}

#[tokio::test(flavor = "multi_thread")]
async fn threat_t19_no_secret_is_in_arguments_environment_output_or_storage() {
    let (world, s3) = (World::start(SHOP).await, S3::start());
    let scratch = world.scratch();
    let storages = [s3_target(&s3), world.volume()];
    let agent = world.agent(&BackupParameters { proof: ProofLevel::Restored, ..world.parameters(&storages) });
    let (pid, stop, server) = (agent.child.id(), Arc::new(AtomicBool::new(false)), scratch.pid());
    let stopped = Arc::clone(&stop);
    let watching = thread::spawn(move || {
        let mut seen = String::new();
        while !stopped.load(Ordering::Relaxed) {
            let all = [pid, server].into_iter().flat_map(|pid| [vec![pid], children(pid)].concat());
            all.for_each(|pid| seen.push_str(&(command(pid) + &environment(pid))));
            thread::sleep(Duration::from_millis(2));
        }
        seen
    });
    let (code, answer, said) = agent.end();
    stop.store(true, Ordering::Relaxed);
    let seen = watching.join().unwrap();
    assert_eq!(code, Some(0), "{answer:?}");
    assert!(seen.contains("--snapshot="), "the dump was not seen");
    let said = said + &serde_json::to_string(&answer).unwrap() + &seen;
    let stored = [files(&s3.objects), files(&world.path("volume"))].concat();
    for secret in [&world.login.password, &s3.secret_access_key] {
        assert!(!said.contains(secret.as_str()), "{secret} was seen");
        for file in &stored {
            let text = fs::read(file).unwrap();
            assert!(!String::from_utf8_lossy(&text).contains(secret.as_str()), "{secret} is in {}", file.display());
        }
    }
    assert!(matches!(answer, Answer::Done(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extension_or_locale_that_the_tools_lack_is_said() {
    let world = World::start("SELECT 1").await;
    let extension = Extension { name: "absent".into(), version: "1".into(), schema: "public".into() };
    let settings = serde_json::json!({ "datcollate": "C", "datctype": "C", "datlocprovider": "c" });
    let good = Request {
        extensions: vec![extension],
        roles: vec!["a\"b".into()],
        encoding: "UTF8".into(),
        settings,
        keep: None,
    };
    let other = serde_json::json!({ "datcollate": "xx_XX", "datctype": "xx_XX" });
    let locale = Request { extensions: Vec::new(), settings: other, ..good.clone() };
    for request in [good, locale] {
        let _scratch = world.scratch();
        let (mut reader, mut writer) = client::connect(&world.path("sockets")).await.unwrap().into_split();
        client::ask(&mut writer, &request).await.unwrap();
        let refusal = client::answer(&mut reader).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::ExtensionNotInTools, "{refusal:?}");
        drop((reader, writer));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_superuser_is_restored_around() {
    let world = World::start(SHOP).await;
    world.postgres.superuser("shop").sql(
        "CREATE SCHEMA extensions; CREATE EXTENSION hstore SCHEMA extensions; CREATE EXTENSION pg_trgm;
         GRANT ALL ON SCHEMA extensions TO shop;
         CREATE FUNCTION noticed() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
         CREATE EVENT TRIGGER notices ON ddl_command_end EXECUTE FUNCTION noticed();
         CREATE ROLE reader; CREATE POLICY p ON orders TO reader USING (true);
         CREATE PUBLICATION everything FOR ALL TABLES;
         COMMENT ON EXTENSION hstore IS 'a comment';",
    );
    world.login.sql("CREATE TABLE kept (pairs extensions.hstore); INSERT INTO kept VALUES ('a=>1')");
    let _scratch = world.scratch();
    let parameters = BackupParameters { proof: ProofLevel::Restored, ..world.parameters(&[world.volume()]) };
    let result = world.backup(&parameters).await.unwrap();
    assert_eq!(result.rows, 1013);
}
