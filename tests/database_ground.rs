//! The ground that tests of databases stand on: the servers themselves are as those tests take them to be.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::process::Command;

mod support;

use support::{postgres::Postgres, process::soon, s3::S3};

#[test]
fn a_database_is_reached_by_its_owner_over_verified_tls_only() {
    let postgres = Postgres::start();
    let shop = postgres.database("shop");
    let other = postgres.database("other");
    assert_eq!(shop.sql("SELECT ssl, current_user FROM pg_stat_ssl WHERE pid = pg_backend_pid()"), "t|shop");
    shop.sql("CREATE TABLE orders (id bigint PRIMARY KEY)");
    assert_eq!(other.sql("SELECT count(*) FROM pg_tables WHERE tablename = 'orders'"), "0");
    assert_eq!(postgres.superuser("shop").sql("SELECT tableowner FROM pg_tables WHERE tablename = 'orders'"), "shop");

    let refused = |change: &dyn Fn(&mut Command)| {
        let mut command = shop.psql();
        change(command.args(["--command", "SELECT 1"]));
        let output = command.output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused(&|psql| _ = psql.env("PGSSLMODE", "disable")).contains("no encryption"));
    assert!(refused(&|psql| _ = psql.env("PGPASSWORD", "wrong")).contains("password authentication failed"));
    let stranger = Postgres::start();
    let certificate = stranger.superuser("postgres").ca;
    let foreign = certificate.with_file_name("server.crt");
    assert!(refused(&|psql| _ = psql.env("PGSSLROOTCERT", &foreign)).contains("certificate verify failed"));
}

#[test]
fn a_secret_is_laid_out_as_kubernetes_mounts_it() {
    let login = Postgres::shared().database("mounted");
    let read = |file: &str| std::fs::read_to_string(login.secret.join(file)).unwrap();
    assert_eq!(read("username"), "mounted");
    assert_eq!(read("sslmode"), "verify-full");
    assert!(read("ca.crt").starts_with("-----BEGIN CERTIFICATE-----"));
}

#[test]
fn servers_end_with_what_holds_them() {
    let (postgres, s3) = (Postgres::start(), S3::start());
    let gone = |pid: u32| !std::path::Path::new(&format!("/proc/{pid}")).exists();
    let pids = [postgres.pid(), s3.pid()];
    assert!(pids.into_iter().all(|pid| !gone(pid)));
    drop((postgres, s3));
    assert!(soon(|| pids.into_iter().all(gone)));
}

#[test]
fn an_object_is_read_back_and_a_second_create_of_it_is_refused() {
    let s3 = S3::start();
    let request = |arguments: &[&str]| {
        let url = format!("{}/{}/folder/object", s3.endpoint, s3.bucket);
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--write-out", "%{http_code}", "--aws-sigv4"])
            .arg(format!("aws:amz:{}:s3", s3.region))
            .args(["--user", &format!("{}:{}", s3.access_key_id, s3.secret_access_key)])
            .args(["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"])
            .args(arguments)
            .arg(url)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let create = |text: &str| {
        request(&["--request", "PUT", "--data-binary", text, "--header", "If-None-Match: *", "--output", "/dev/null"])
    };
    assert_eq!(create("first"), "200");
    assert_eq!(create("second"), "412");
    assert_eq!(request(&[]), "first200");
    assert_eq!(std::fs::read_to_string(s3.objects.join("folder/object")).unwrap(), "first");
    let wrong = format!("{}:wrong", s3.access_key_id);
    assert_eq!(request(&["--user", &wrong, "--output", "/dev/null"]), "403");
}
