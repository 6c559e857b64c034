//! Reaching a server: what stands in the way is named, what is secret is not.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
};

use switchback::{
    api::Reason,
    protocol::{Answer, DatabaseTarget},
};

use crate::{
    bench::{Bench, done, refused},
    postgres::Postgres,
    process::run,
};

fn with(bench: &Bench, name: &str, changes: &[(&str, Option<&str>)]) -> DatabaseTarget {
    DatabaseTarget { secret: bench.secret_with(name, changes), ..bench.target(None) }
}

#[track_caller]
fn why(bench: &Bench, target: &DatabaseTarget, reason: Reason) -> String {
    refused(bench.mark(target), reason)
}

#[test]
fn input_23_a_key_that_is_missing_or_empty_is_named() {
    let bench = Bench::new("keys");
    for (number, key) in ["host", "port", "dbname", "username"].into_iter().enumerate() {
        for (kind, value) in [("missing", None), ("empty", Some("\n"))] {
            let target = with(&bench, &format!("{kind}-{number}"), &[(key, value)]);
            let said = why(&bench, &target, Reason::SecretKeyNotFound);
            assert!(said.contains(&format!("key {key} is missing or empty")), "{said}");
        }
    }
    for (key, value, says) in [
        ("port", Some("many"), "is no port number"),
        ("sslmode", Some("sometimes"), "is none of disable, prefer, require, verify-ca, verify-full"),
        ("ca.crt", None, "which sslmode verify-full needs"),
        ("ca.crt", Some("nonsense"), "holds no certificate"),
        ("password", Some("a\0b"), "is not text"),
    ] {
        let said = why(&bench, &with(&bench, &format!("bad-{says}"), &[(key, value)]), Reason::SecretKeyNotFound);
        assert!(said.contains(&format!("key {key} ")) && said.contains(says), "{said}");
    }
}

#[test]
fn input_23_newlines_at_the_end_are_what_editors_leave() {
    let bench = Bench::new("newlines");
    let password = format!("{}\r\n", bench.login.password);
    let target = with(&bench, "newlines", &[("password", Some(&password)), ("host", Some("localhost\n"))]);
    done(bench.mark(&target));
}

#[test]
fn input_26_what_cannot_be_reached_says_how_far_it_came() {
    let bench = Bench::new("reach");
    let port = crate::process::free_port().to_string();
    for (name, changes, says) in [
        ("name", [("host", Some("nowhere.invalid"))], "the name is not resolved"),
        ("refused", [("port", Some(port.as_str()))], "the connection is refused"),
    ] {
        let said = why(&bench, &with(&bench, name, &changes), Reason::DatabaseUnreachable);
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn input_26_a_certificate_that_does_not_fit_is_refused_where_it_is_asked_for() {
    let bench = Bench::new("tls");
    let own = own_certificate(&bench, "30");
    let wrong = ("ca.crt", Some(own.text.as_str()));
    for mode in ["verify-full", "verify-ca", "require"] {
        let target = with(&bench, &format!("wrong-{mode}"), &[wrong, ("sslmode", Some(mode))]);
        let said = why(&bench, &target, Reason::DatabaseUnreachable);
        assert!(said.contains("TLS: ") && said.contains("invalid peer certificate"), "{mode}: {said}");
    }
    for (name, changes) in [
        ("no-ca", vec![("sslmode", Some("require")), ("ca.crt", None)]),
        ("preferred", vec![("sslmode", Some("prefer")), wrong]),
        ("unsaid", vec![("sslmode", None), ("ca.crt", None)]),
    ] {
        let facts = done(bench.mark(&with(&bench, name, &changes)));
        assert_eq!(facts.certificate.map(|key| key.len()), Some(64), "{name}");
    }
    // This server lets nobody in without TLS.
    let said = why(&bench, &with(&bench, "plain", &[("sslmode", Some("disable"))]), Reason::AuthenticationFailed);
    assert!(said.contains("no encryption"), "{said}");
}

/// A certificate that is its own authority, made out for another host.
struct Own {
    text: String,
    key: String,
    certificate: String,
}

fn own_certificate(bench: &Bench, days: &str) -> Own {
    let path = |name: &str| bench.folder.path().join(format!("{name}{days}")).display().to_string();
    let [key, asked, extensions, certificate] = ["own.key", "own.csr", "own.ext", "own.crt"].map(path);
    std::fs::write(&extensions, "subjectAltName=DNS:elsewhere\nbasicConstraints=critical,CA:TRUE\n").unwrap();
    let openssl = |arguments: &[&str]| run(Path::new("openssl"), arguments, None);
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
    openssl(&[&["req", "-new", "-nodes", "-subj", "/CN=x", "-keyout", &key, "-out", &asked], &curve[..]].concat());
    let made = ["-signkey", &key, "-days", days, "-extfile", &extensions, "-out", &certificate];
    openssl(&[&["x509", "-req", "-in", &asked], &made[..]].concat());
    if crate::process::is_root() {
        run(Path::new("chown"), &["postgres", &key], None);
    }
    Own { text: std::fs::read_to_string(&certificate).unwrap(), key, certificate }
}

impl Own {
    /// Starts a server that shows this certificate; returns it and its superuser's Secret, which trusts it.
    fn server(&self) -> (Postgres, PathBuf) {
        let server = Postgres::start_with(&[("ssl_cert_file", &self.certificate), ("ssl_key_file", &self.key)]);
        let secret = server.superuser("postgres").secret;
        std::fs::write(secret.join("ca.crt"), &self.text).unwrap();
        (server, secret)
    }
}

#[test]
fn input_26_a_certificate_that_is_its_own_authority_is_taken_and_its_name_still_counts() {
    let bench = Bench::new("own");
    let (_server, secret) = own_certificate(&bench, "30").server();
    let target = DatabaseTarget { secret: secret.clone(), ..bench.target(None) };
    let said = why(&bench, &target, Reason::DatabaseUnreachable);
    assert!(said.contains("not valid for name"), "{said}");
    std::fs::write(secret.join("sslmode"), "verify-ca").unwrap();
    done(bench.mark(&target));
}

#[test]
fn input_26_a_certificate_that_has_expired_says_so() {
    let bench = Bench::new("expired");
    let (_server, secret) = own_certificate(&bench, "-1").server();
    std::fs::write(secret.join("sslmode"), "verify-ca").unwrap();
    let target = DatabaseTarget { secret, ..bench.target(None) };
    let said = why(&bench, &target, Reason::DatabaseUnreachable);
    assert!(said.contains("TLS: ") && said.contains("Expired"), "{said}");
}

#[test]
fn input_27_a_wrong_password_is_said_and_never_shown() {
    let bench = Bench::new("wrong");
    let target = with(&bench, "wrong", &[("password", Some("password-of-nobody"))]);
    let said = why(&bench, &target, Reason::AuthenticationFailed);
    assert!(said.contains("28P01") && said.contains("localhost:"), "{said}");
}

#[test]
fn input_28_a_database_that_takes_no_writes_is_no_primary() {
    let bench = Bench::new("readonly");
    let admin = Postgres::shared().superuser("postgres");
    admin.sql("ALTER DATABASE readonly SET default_transaction_read_only = on");
    let said = why(&bench, &bench.target(None), Reason::NotPrimary);
    assert!(said.contains("read-only"), "{said}");
}

#[test]
fn a_session_asks_for_no_more_than_it_needs_and_has_no_time_out() {
    let bench = Bench::new("settings");
    let admin = Postgres::shared().superuser("postgres");
    // A time-out of the role's would end a lock in the middle.
    admin.sql("ALTER ROLE settings SET statement_timeout = '1ms'; ALTER ROLE settings SET idle_session_timeout = '1s'");
    done(bench.mark(&bench.target(None)));
}

#[test]
fn a_right_that_is_missing_is_named() {
    let bench = Bench::new("rights");
    let other = Postgres::shared().database("rights_other");
    Postgres::shared().superuser("rights").sql("REVOKE CREATE ON DATABASE rights FROM PUBLIC");
    let changes = [("username", Some("rights_other")), ("password", Some(other.password.as_str()))];
    let said = why(&bench, &with(&bench, "other", &changes), Reason::InsufficientPrivilege);
    assert!(said.contains("permission denied"), "{said}");
}

#[test]
fn inspect_tells_who_a_database_is() {
    let bench = Bench::new("look");
    let seen = bench.inspect(&bench.target(None), None).result;
    let Some(Answer::Done(facts)) = seen.database else { panic!("{seen:?}") };
    let login = &bench.login;
    assert_eq!(facts.identity.oid.to_string(), login.sql("SELECT oid FROM pg_database WHERE datname = 'look'"));
    assert_eq!(facts.identity.marker, None);
    assert_eq!(facts.endpoint, format!("localhost:{}", login.port));
    assert_eq!(facts.server_version, login.sql("SHOW server_version").split(' ').next().unwrap());
    assert!(facts.size_bytes > 1_000_000);
}

/// Answers the first message of the first session with an error; declines TLS.
fn pooler(code: &'static str, says: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 4];
            stream.read_exact(&mut head).unwrap();
            let mut body = vec![0; u32::from_be_bytes(head) as usize - 4];
            stream.read_exact(&mut body).unwrap();
            assert!(String::from_utf8_lossy(&body).contains("switchback.session="));
            let fields = format!("SFATAL\0VFATAL\0C{code}\0M{says}\0\0");
            stream.write_all(b"E").unwrap();
            stream.write_all(&u32::try_from(fields.len() + 4).unwrap().to_be_bytes()).unwrap();
            stream.write_all(fields.as_bytes()).unwrap();
        }
    });
    port
}

#[test]
fn a_pooler_before_the_server_is_refused() {
    let bench = Bench::new("pooled");
    for (number, (code, says)) in [
        ("08P01", "unsupported startup parameter in options: switchback.session"),
        ("0A000", "Feature not supported: RDS Proxy currently doesn't support command-line options"),
    ]
    .into_iter()
    .enumerate()
    {
        let port = pooler(code, says).to_string();
        let changes = [("port", Some(port.as_str())), ("host", Some("127.0.0.1")), ("sslmode", Some("disable"))];
        let said = why(&bench, &with(&bench, &number.to_string(), &changes), Reason::PoolerNotSupported);
        assert!(said.contains(says), "{said}");
    }
}
