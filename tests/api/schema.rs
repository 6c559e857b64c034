//! The schema of our kinds, rule by rule, as the API server applies it.
//!
//! The CRDs say which rules and patterns there are: one without examples here fails a test.

use std::collections::BTreeSet;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};
use strum::VariantNames as _;
use switchback::api::{
    BackupStorage, DatabaseBackup, DatabaseInstance, Decision, DecisionKind, Release, ReleasePolicy, crds,
};

use crate::support::{
    Namespace, assert_refused, in_namespace,
    objects::{approval, release},
    refusal,
};

const NAME: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
const SERVICE: &str = "^[a-z]([-a-z0-9]*[a-z0-9])?$";
const WORD: &str = "^[!-~]+$";
const OBJECT_UID: &str = "^[-0-9a-zA-Z]+$";
const PATH: &str = "^/[!-~]*$";
const DIGEST: &str = "^sha256:[0-9a-f]{64}$";
const DURATION: &str = "^([0-9]+(ms|s|m|h))+$";

const OBJECT: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
const KEY: &str = "^[.]?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$";
const FOLDERS: &str = "^([-_=a-zA-Z0-9][-._=a-zA-Z0-9]*(/[-_=a-zA-Z0-9][-._=a-zA-Z0-9]*)*)?$";
const BUCKET: &str = "^[a-zA-Z0-9]([-_a-zA-Z0-9]|[.][a-zA-Z0-9])*$";
const ENDPOINT: &str = "^https?://([a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?|\\[[0-9a-fA-F:]+\\])(:[0-9]{1,5})?$";
const REVISION: &str = r"^v1-[0-9a-f]{10}$";
const CRON: &str = r"^[-0-9A-Za-z*/,#]+( +[-0-9A-Za-z*/,#]+){4}$";
const SENTENCE: &str = r"^[^\s\p{C}]([^\p{C}]*[^\s\p{C}])?$";
const ZONE: &str = r"^[A-Za-z][-+_/A-Za-z0-9]*$";
const REGION: &str = "^[a-zA-Z0-9][-a-zA-Z0-9]*$";
const SIZE: &str = "^[1-9][0-9]{0,5}(Mi|Gi|Ti)$";
const FINGERPRINT: &str =
    "^[0-9]{1,20}/[0-9]{1,10}/[^\\x00-\\x1f\\x7f]{1,63}/([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|none)$";

const HOST: &str = "^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?([.][a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?)*$";
const ADDRESS: &str =
    "^https?://([a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?|\\[[0-9a-fA-F:]+\\])(:[0-9]{1,5})?(/[-._~a-zA-Z0-9/]*)?$";
const HEADER: &str = "^[a-zA-Z0-9]([-_a-zA-Z0-9]*[a-zA-Z0-9])?$";
const LINE: &str = "^[!-~]([ -~]*[!-~])?$";
const DECIMAL: &str = "^-?[0-9]{1,15}([.][0-9]{1,15})?$";

const QUANTITY: &str = "^[0-9]+([.][0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$";

const VARIABLE: &str = "^[A-Za-z_][A-Za-z0-9_]*$";

const UID: &str = "11111111-2222-3333-4444-555555555555";

/// Each pattern with texts that it accepts and texts that it refuses: rows 4 and 50 of the bad inputs.
const PATTERNS: [(&str, &[&str], &[&str]); 27] = [
    (VARIABLE, &["A", "DB_HOST", "_x9"], &["", "9A", "a-b", "a b", "A\n", "A=B", "\u{410}"]),
    (
        HOST,
        &["shop.example.com", "localhost", "203.0.113.9", "Shop-1.example"],
        &["", ".", "shop.", "-shop", "a..b", "user@shop", "shop:443", "shop/x", "shop\n", "ѕhop", "a_b", "*.shop"],
    ),
    (
        ADDRESS,
        &["http://prometheus.monitoring.svc:9090", "https://[fd00::1]:9090", "https://m.example.com/prometheus/"],
        &[
            "prometheus:9090",
            "http://",
            "https://user:password@m.example.com",
            "http://m.example.com?query=up",
            "http://m.example.com/#x",
            "file:///etc",
            "http://m.example.com\n",
        ],
    ),
    (HEADER, &["X-Frame-Options", "a", "x_y"], &["", "X Frame", "-x", "x-", "a:b", "x\n", "x\r\ny", "ѕ"]),
    (LINE, &["https", "a b", "max-age=1; x"], &["", " a", "a ", "a\n", "a\r\nX-Other: b", "a\u{202e}b", "ü"]),
    (DECIMAL, &["0.001", "-5", "15"], &["", "-", ".5", "5.", "1e3", "NaN", "Inf", "+1", "1,5", "0x1", "1 ", "1\n"]),
    (QUANTITY, &["2", "0.5", "100m", "64Mi", "1.5Gi"], &["", "-1", "1 Gi", "64MiB", "1e3", "all", "1\n"]),
    (
        NAME,
        &["web", "0-web-9", "a"],
        &["", "Web", "-web", "web-", "a.b", "..", "a/b", "a%2fb", "we\0b", "web\n", "a\u{202e}b", "wеb"],
    ),
    (
        SERVICE,
        &["shop", "s", "shop-9"],
        &["9shop", "Shop", "shop-", "shop.other", "../shop", "shop%2f", "shop\n", "\0", "ѕhop"],
    ),
    (
        WORD,
        &["a", "registry.example.com:5000/shop:1.0.0", "2.4.0+build"],
        &["", "a b", "a\n", "\ta", "1.0\u{202e}", "\u{1b}[8m1.0", "1.0\u{200b}", "1.О"],
    ),
    (OBJECT_UID, &[UID, "x"], &["", "a b", "../a", "a\n", "\u{1b}[8m"]),
    (PATH, &["/", "/health?full=1"], &["health", "http://elsewhere/", "/a b", "/a\n", "/\u{202e}a"]),
    (
        DIGEST,
        &[crate::support::objects::DIGEST],
        &["sha256:0", "0000", "SHA256:", "sha256:0000000000000000000000000000000000000000000000000000000000000000\n"],
    ),
    (
        DURATION,
        &["30s", "1m", "0h30s", "500ms"],
        &["5", "-1s", "1e9h", "1.5.2s", "1.5h", "1d", "", "s", "5 s", "0 16 * * FRI", "1m\n"],
    ),
    (
        OBJECT,
        &["shop", "shop.example", "0-9"],
        &["", ".", "..", "a..b", "../shop", "a/b", "/a", "Shop", "shop-", "-shop", "shop\n", "a b", "ѕhop"],
    ),
    (KEY, &["password", "ca.crt", ".pgpass", "DB_HOST"], &["", ".", "..", "../key", "a/b", "a b", "key\n", "a:b"]),
    (
        FOLDERS,
        &["", "shop", "a/b/c", "env=prod/v1.2"],
        &["/", "/shop", "shop/", "..", "../x", "a/../b", "a//b", "./a", "a\n", "a b", "a\u{202e}b"],
    ),
    (
        BUCKET,
        &["backups", "my.bucket-1"],
        &["...", "a..b", "/backups", "a/b", "backups.", "-backups", "back ups", "backups\n"],
    ),
    (
        ENDPOINT,
        &["https://s3.example.com", "http://s3:7070", "https://[fd00::1]:9000"],
        &[
            "s3.example.com",
            "https://",
            "https://user:password@s3.example.com",
            "https://user@s3.example.com",
            "https://s3.example.com/path",
            "https://s3.example.com?x=1",
            "file:///etc",
            "https://s3.example.com\n",
        ],
    ),
    (
        REVISION,
        &["v1-0123456789"],
        &["", "2.3.0", "v1-", "v1-012345678", "v1-01234567890", "V1-0123456789", "v1-0123456789\n"],
    ),
    (
        CRON,
        &["0 16 * * FRI", "*/5 0-6,22 1,15 * 1-5", "0 0 * * 5#2"],
        &["", "0 16 * *", "* * * * * *", "@daily", "0 16 * * FRI\n", "0 16 * * $(x)"],
    ),
    (
        SENTENCE,
        &["Go", "Begin automated deployment", "Ich übernehme das!", "x"],
        &["", " Go", "Go ", "Go\n", "Go\tnow", "\u{1b}[8mGo", "Go\u{202e}", "Go\u{200b}now"],
    ),
    (ZONE, &["UTC", "Europe/Berlin", "Etc/GMT+5"], &["", "/etc/localtime", "../UTC", "Europe Berlin", "UTC\n"]),
    (REGION, &["eu-central-1", "auto"], &["", "eu central", "../x", "-x", "eu\n"]),
    (SIZE, &["500Mi", "20Gi", "1Ti"], &["", "0Gi", "20G", "20", "-1Gi", "1.5Gi", "20Gi\n", "1000000Gi"]),
    (
        FINGERPRINT,
        &["7000/16384/shop/none", "7000/16384/a/b/11111111-2222-3333-4444-555555555555"],
        &[
            "",
            "none",
            "x/1/shop/none",
            "7000/16384/shop/NONE",
            "7000/16384//none",
            "7000/16384/sh\nop/none",
            "7000/16384/shop/none\n",
        ],
    ),
    (
        r"^([a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?/)?[a-zA-Z0-9]([-._a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$",
        &["app", "app.kubernetes.io/name", "a"],
        &["", "-a", "a/", "/a", "a/b/c", "app name", "app\n", "../a", "А"],
    ),
];

/// What changes a valid object: places and values.
type Change = Vec<(&'static str, Value)>;

/// Each rule by its message, with an object that keeps it and one that breaks it.
fn rules() -> Vec<(&'static str, Change, Change)> {
    let twin = json!({ "name": "api", "services": [{ "name": "shop", "spec": { "ports": [{ "port": 80 }] } }],
        "template": { "spec": { "containers": [{ "name": "api", "image": "a" }] } } });
    let mut other = twin.clone();
    other["services"][0]["name"] = "api".into();
    let job = json!({ "template": { "spec": { "containers": [{ "name": "c", "image": "a" }] } } });
    let mut rules = vec![
        (
            "two Services of this Release have the same name",
            vec![("/spec/workloads/1", other)],
            vec![("/spec/workloads/1", twin)],
        ),
        (
            "an http check names a Service that no workload of this Release has",
            vec![("/spec/checks/0/http/service", "shop".into())],
            vec![("/spec/checks/0/http/service", "shop-preview".into())],
        ),
        ("name exactly one of http, job, prometheus, tls, dns and sql", vec![], vec![("/spec/checks/0/job", job)]),
        (
            "a job check runs once, before traffic moves: its phase is Verify",
            vec![("/spec/checks/1/phase", "Verify".into())],
            vec![("/spec/checks/1/phase", "Watch".into())],
        ),
        (
            "timeout is longer than 1m",
            vec![("/spec/checks/0/http/timeout", "60s".into())],
            vec![("/spec/checks/0/http/timeout", "61s".into())],
        ),
        (
            "every is shorter than 100ms",
            vec![("/spec/checks/0/http/every", "100ms".into())],
            vec![("/spec/checks/0/http/every", "99ms".into())],
        ),
        (
            "immediateBelow is larger than readyPercent",
            vec![("/spec/watch/readyPercent", 60.into()), ("/spec/watch/immediateBelow", 60.into())],
            vec![("/spec/watch/readyPercent", 60.into()), ("/spec/watch/immediateBelow", 61.into())],
        ),
        (
            "timeout of a hook is longer than 1h",
            vec![("/spec/hooks/0/timeout", "60m".into())],
            vec![("/spec/hooks/0/timeout", "61m".into())],
        ),
        (
            "handover: Overlap is for workers: traffic of a workload with Services is switched from one version to the next, unless it may be away meanwhile (StopThenStart)",
            vec![
                ("/spec/workloads/1", worker("Overlap")),
                ("/spec/workloads/0/adopt", Value::Null),
                ("/spec/workloads/0/handover", "StopThenStart".into()),
            ],
            vec![("/spec/workloads/0/adopt", Value::Null), ("/spec/workloads/0/handover", "Overlap".into())],
        ),
        (
            "write no selector: the operator moves it from revision to revision",
            vec![("/spec/workloads/0/services/0/spec/type", "NodePort".into())],
            vec![("/spec/workloads/0/services/0/spec/selector", json!({ "app": "shop" }))],
        ),
        (
            "breachFor of an http check is not shorter than watch.for: it could never fail",
            vec![("/spec/checks/0/phase", "Watch".into()), ("/spec/checks/0/http/breachFor", "14m".into())],
            vec![("/spec/checks/0/phase", "Watch".into()), ("/spec/checks/0/http/breachFor", "15m".into())],
        ),
        (
            "the migration names a workload that this Release does not have",
            vec![("/spec/database/migration", by_workload("web"))],
            vec![("/spec/database/migration", by_workload("wep"))],
        ),
        (
            "name exactly one of workload, pod and sql",
            vec![("/spec/database/migration", by_pod())],
            vec![("/spec/database/migration/workload", "web".into())],
        ),
        (
            "command is required with workload and pod, and means nothing with sql: an image's own entry point is never run",
            vec![("/spec/database/migration", by_workload("web"))],
            vec![("/spec/database/migration/command", json!(["migrate"]))],
        ),
        (
            "direct means nothing with sql",
            vec![("/spec/database/migration/direct", false.into())],
            vec![("/spec/database/migration/direct", true.into())],
        ),
        (
            "the files of config have more than 262144 characters together",
            vec![("/spec/config", json!([files("a", 2), files("b", 2)]))],
            vec![("/spec/config", json!([files("a", 2), files("b", 3)]))],
        ),
        (
            "the SQL of a migration cannot come from config: it is looked at before any of the revision's own ConfigMaps is there",
            vec![("/spec/config/0/name", "shop-2".into())],
            vec![("/spec/config/0/name", "shop-1".into())],
        ),
        (
            "rollback.database is Down, and no migration has a down",
            vec![
                ("/spec/database/migration", by_workload("web")),
                ("/spec/database/migration/command", json!(["migrate"])),
                ("/spec/database/migration/down", json!(["migrate", "down"])),
                ("/spec/rollback/database", "Down".into()),
            ],
            vec![("/spec/rollback/database", "Down".into())],
        ),
        (
            "rollback.database is Down, and a Contract migration changes nothing until there is no way back",
            vec![
                ("/spec/database/migration", by_workload("web")),
                ("/spec/database/migration/command", json!(["migrate"])),
                ("/spec/database/migration/down", json!(["migrate", "down"])),
                ("/spec/database/migration/change", "Contract".into()),
            ],
            vec![
                ("/spec/database/migration", by_workload("web")),
                ("/spec/database/migration/command", json!(["migrate"])),
                ("/spec/database/migration/down", json!(["migrate", "down"])),
                ("/spec/database/migration/change", "Contract".into()),
                ("/spec/rollback/database", "Down".into()),
            ],
        ),
        (
            "pending means nothing with sql: its files say what is due",
            vec![("/spec/database/migration", asking("web"))],
            vec![("/spec/database/migration/pending", json!(["migrate", "pending"]))],
        ),
        (
            "pending goes through the agent's port, which direct does without",
            vec![("/spec/database/migration", asking("web")), ("/spec/database/migration/direct", false.into())],
            vec![("/spec/database/migration", asking("web")), ("/spec/database/migration/direct", true.into())],
        ),
        (
            "rollback.database is Restore, and there is no Expand migration whose backup could be restored",
            vec![("/spec/database/migration/change", "Expand".into()), ("/spec/rollback/database", "Restore".into())],
            vec![("/spec/database/migration/change", "Contract".into()), ("/spec/rollback/database", "Restore".into())],
        ),
        (
            "down means nothing with sql: it is a command of an image",
            vec![
                ("/spec/database/migration", by_workload("web")),
                ("/spec/database/migration/command", json!(["migrate"])),
                ("/spec/database/migration/down", json!(["migrate", "down"])),
            ],
            vec![("/spec/database/migration/down", json!(["migrate", "down"]))],
        ),
        (
            "two workloads adopt the same Deployment",
            vec![("/spec/workloads/0/adopt", adopt("one", "shop")), ("/spec/workloads/1", adopting("two"))],
            vec![("/spec/workloads/0/adopt", adopt("one", "shop")), ("/spec/workloads/1", adopting("one"))],
        ),
        (
            "adopt and handover: pods of what is taken over carry no label by which their end could be seen; say handover from the next release on",
            vec![("/spec/workloads/0/adopt", adopt("one", "shop"))],
            vec![
                ("/spec/workloads/0/adopt", adopt("one", "shop")),
                ("/spec/workloads/0/handover", "StopThenStart".into()),
            ],
        ),
        (
            "adopt names a Service that is not among the workload's services: what it looks like from the first release on is said there",
            vec![("/spec/workloads/0/adopt", adopt("one", "shop"))],
            vec![("/spec/workloads/0/adopt", adopt("one", "other"))],
        ),
        (
            "a headless Service cannot be switched: its clients keep the addresses they looked up",
            vec![("/spec/workloads/0/services/0/spec/clusterIP", "10.96.0.77".into())],
            vec![("/spec/workloads/0/services/0/spec/clusterIP", "None".into())],
        ),
    ];
    rules.extend(of_times_and_credentials());
    rules.extend(of_autoscaling());
    rules.extend(of_checks());
    rules.extend(of_http());
    rules
}

/// Rules on times that cannot be kept, and on passwords where they do not belong.
fn of_times_and_credentials() -> Vec<(&'static str, Change, Change)> {
    let lock = "lockTimeout is longer than timeout";
    let (timeout, lock_timeout) = ("/spec/database/migration/timeout", "/spec/database/migration/lockTimeout");
    let ready = "deadlines.deploy is not longer than the minReadySeconds of a workload";
    let min_ready = "/spec/workloads/0/minReadySeconds";
    let mut rules = vec![
        (
            lock,
            vec![(timeout, "2s".into()), (lock_timeout, "2000ms".into())],
            vec![(timeout, "2s".into()), (lock_timeout, "2001ms".into())],
        ),
        // What is not said counts as well.
        (lock, vec![], vec![(timeout, "1s".into())]),
        (
            ready,
            vec![(min_ready, 60.into()), ("/spec/deadlines/deploy", "61s".into())],
            vec![(min_ready, 60.into()), ("/spec/deadlines/deploy", "1m".into())],
        ),
        (ready, vec![(min_ready, 599.into())], vec![(min_ready, 600.into())]),
    ];
    let in_value = "CredentialsInline: a password stands in the value, where many may read it; the copy is reached through DATABASE_URL and PG*, which the agent sets";
    let value = "/spec/database/migration/rehearse/env/0/value";
    rules.push((in_value, vec![(value, "postgres://app:$(PASSWORD)@db/shop".into())], vec![(value, INLINE[0].into())]));
    let in_command = "CredentialsInline: a password stands in a command, where many may read it; the command reaches the database through DATABASE_URL and PG*, which the agent sets";
    for inline in INLINE {
        for (command, shape) in
            [("command", by_workload("web")), ("pending", asking("web")), ("down", by_workload("web"))]
        {
            let with = |word: &str| {
                let mut migration = shape.clone();
                migration[command] = json!(["migrate", word]);
                vec![("/spec/database/migration", migration)]
            };
            rules.push((in_command, with("https://user@example.com:8080/a@b:c"), with(inline)));
            rules.push((in_command, with("psql postgres://app:$PASSWORD@db/shop"), with(inline)));
        }
    }
    rules
}

/// Passwords as people write them into a command or a value.
const INLINE: [&str; 5] = [
    "postgres://shop:secret@db/shop",
    "--dsn=POSTGRESQL://shop:s3cr3t@db:5432/shop?sslmode=require",
    "redis://:secret@cache",
    "host=db user=shop password=secret",
    "--password=secret",
];

fn adopt(deployment: &str, service: &str) -> Value {
    json!({ "deployment": deployment, "service": service })
}

/// A second workload, which adopts a Deployment.
fn adopting(deployment: &str) -> Value {
    json!({
        "name": "api", "services": [{ "name": "api", "spec": { "ports": [{ "port": 80 }] } }],
        "adopt": adopt(deployment, "api"),
        "template": { "spec": { "containers": [{ "name": "api", "image": "a" }] } },
    })
}

/// Where the full Release has a check of each kind.
const KINDS: [(&str, usize); 6] = [("http", 0), ("job", 1), ("prometheus", 2), ("tls", 3), ("dns", 4), ("sql", 5)];

/// Rules on checks of all kinds.
fn of_checks() -> Vec<(&'static str, Change, Change)> {
    let preflight =
        |http: Value| vec![("/spec/checks/0", json!({ "name": "home", "phase": "Preflight", "http": http }))];
    let address = "/spec/checks/2/prometheus/address";
    let watched = |kind: usize, place: &'static str, breach: &str| {
        let phase =
            ["", "", "/spec/checks/2/phase", "/spec/checks/3/phase", "/spec/checks/4/phase", "/spec/checks/5/phase"];
        vec![(phase[kind], json!("Watch")), (place, breach.into())]
    };
    let mut without = release("shop")["spec"].clone();
    let mut with = without.clone();
    with["checks"] = json!([{ "name": "a", "phase": "Verify", "dns": { "host": "shop" } }]);
    without["checks"] = json!([{ "name": "a", "phase": "Verify", "sql": { "query": "SELECT 1", "min": "1" } }]);
    let mut rules = vec![
        (
            "before anything is made there is no preview Service: an http check of the phase Preflight names a host alone",
            preflight(json!({ "host": "shop.example.com" })),
            preflight(json!({ "host": "shop.example.com", "service": "shop" })),
        ),
        ("a rate takes a window: its phase is Watch", vec![], vec![("/spec/checks/6/phase", "Verify".into())]),
        (
            "onInconclusive belongs to the phase Watch: before the switch only a success lets a release go on",
            vec![("/spec/checks/6/onInconclusive", "SwitchBack".into())],
            vec![("/spec/checks/0/onInconclusive", "Hold".into())],
        ),
        (
            "certificate authorities are for https",
            vec![(address, "https://prometheus".into())],
            vec![(address, "http://prometheus".into())],
        ),
        (
            "an address is no IP address",
            vec![("/spec/checks/4/dns/addresses", json!(["203.0.113.9", "2001:db8::1"]))],
            vec![("/spec/checks/4/dns/addresses", json!(["203.0.113.9", "203.0.113.256"]))],
        ),
        (
            "breachFor of a prometheus check is longer than half of watch.for: a breach that begins later would never be seen",
            watched(2, "/spec/checks/2/prometheus/breachFor", "450s"),
            watched(2, "/spec/checks/2/prometheus/breachFor", "451s"),
        ),
        (
            "the rate of an http check is over more than watch.for",
            vec![("/spec/checks/6/http/rate/over", "15m".into())],
            vec![("/spec/checks/6/http/rate/over", "16m".into())],
        ),
        (
            "a sql check asks the Release's database, and spec.database names none",
            vec![("/spec", with)],
            vec![("/spec", without)],
        ),
    ];
    for (kind, place) in
        [(3, "/spec/checks/3/tls/breachFor"), (4, "/spec/checks/4/dns/breachFor"), (5, "/spec/checks/5/sql/breachFor")]
    {
        let message = "breachFor of a check is not shorter than watch.for: it could never fail";
        rules.push((message, watched(kind, place, "14m"), watched(kind, place, "15m")));
    }
    for (timeout, every) in [
        ("/spec/checks/2/prometheus/timeout", "/spec/checks/2/prometheus/every"),
        ("/spec/checks/3/tls/timeout", "/spec/checks/3/tls/every"),
        ("/spec/checks/4/dns/timeout", "/spec/checks/4/dns/every"),
        ("/spec/checks/5/sql/timeout", "/spec/checks/5/sql/every"),
    ] {
        rules.push(("timeout is longer than 1m", vec![(timeout, "60s".into())], vec![(timeout, "61s".into())]));
        rules.push(("every is shorter than 1s", vec![(every, "1s".into())], vec![(every, "999ms".into())]));
    }
    let number = |more: Value| {
        let mut check = json!({ "query": "SELECT 1" });
        check.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut query = check.clone();
        query["address"] = "http://p".into();
        [vec![("/spec/checks/5/sql", check)], vec![("/spec/checks/2/prometheus", query)]]
    };
    for (message, good, bad) in [
        ("name min, max, or both", json!({ "min": "1" }), json!({})),
        ("min is larger than max", json!({ "min": "1", "max": "1.0" }), json!({ "min": "10", "max": "9.5" })),
    ] {
        let pairs = number(good).into_iter().zip(number(bad));
        rules.extend(pairs.map(|(good, bad)| (message, good, bad)));
    }
    rules
}

/// Rules on checks over HTTP.
fn of_http() -> Vec<(&'static str, Change, Change)> {
    let header = "/spec/checks/0/http/headers/0";
    let body = "/spec/checks/0/http/body";
    let sent = "/spec/checks/0/http/send/0/name";
    let says = |more: Value| {
        let mut header = json!({ "name": "X-Frame-Options" });
        header.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        header
    };
    let no_expression = "matches is no regular expression";
    let with_a_rate = "with a rate the whole window counts: maxLatency and breachFor mean nothing beside it";
    let mut rules = vec![
        (
            "name a service, a host, or both",
            vec![("/spec/checks/6/http", json!({ "host": "shop.example.com" }))],
            vec![("/spec/checks/6/http", json!({ "path": "/" }))],
        ),
        (
            "percentile says how many of the requests maxLatency is about: it means nothing without it",
            vec![("/spec/checks/0/http/percentile", 95.into()), ("/spec/checks/0/http/maxLatency", "1s".into())],
            vec![("/spec/checks/0/http/percentile", 95.into())],
        ),
        (with_a_rate, vec![], vec![("/spec/checks/6/http/maxLatency", "1s".into())]),
        (
            with_a_rate,
            vec![("/spec/checks/6/http/breachFor", "0s".into())],
            vec![("/spec/checks/6/http/breachFor", "1s".into())],
        ),
        ("certificate authorities are for https", vec![], vec![("/spec/checks/0/http/scheme", "http".into())]),
        (
            "name exactly one of value and matches",
            vec![(header, says(json!({ "matches": "" })))],
            vec![(header, says(json!({ "matches": "", "value": "" })))],
        ),
        ("name exactly one of value and matches", vec![], vec![(header, says(json!({})))]),
        (
            "name exactly one of contains and matches",
            vec![(body, json!({ "matches": "^ok$" }))],
            vec![(body, json!({}))],
        ),
        (
            "name maxFailurePercent, maxMeanLatency, or both",
            vec![("/spec/checks/6/http/rate", json!({ "over": "1m", "maxMeanLatency": "1s" }))],
            vec![("/spec/checks/6/http/rate", json!({ "over": "1m" }))],
        ),
        (
            "maxFailurePercent is not from 0 to below 100",
            vec![("/spec/checks/6/http/rate/maxFailurePercent", "99.9".into())],
            vec![("/spec/checks/6/http/rate/maxFailurePercent", "100".into())],
        ),
        (
            "maxFailurePercent is not from 0 to below 100",
            vec![("/spec/checks/6/http/rate/maxFailurePercent", "0".into())],
            vec![("/spec/checks/6/http/rate/maxFailurePercent", "-0.1".into())],
        ),
        (
            "over is not from 1s to 1h",
            vec![("/spec/checks/6/http/rate/over", "1s".into())],
            vec![("/spec/checks/6/http/rate/over", "999ms".into())],
        ),
        (
            no_expression,
            vec![(header, says(json!({ "matches": "^a+$" })))],
            vec![(header, says(json!({ "matches": "max-age=(" })))],
        ),
        (no_expression, vec![(body, json!({ "matches": "a{2,3}" }))], vec![(body, json!({ "matches": "[a-" }))]),
    ];
    for name in ["Authorization", "COOKIE", "Proxy-Authorization", "Host"] {
        let message = "credentials are not sent: many may read a spec; nor what belongs to the request itself (Host: name a host instead)";
        rules.push((message, vec![(sent, "X-Forwarded-Proto".into())], vec![(sent, name.into())]));
    }
    rules
}

/// A workload without Services.
/// Rules on how a workload is scaled.
fn of_autoscaling() -> Vec<(&'static str, Change, Change)> {
    let asks = |autoscaling: Value| vec![("/spec/workloads/0/autoscaling", autoscaling)];
    let metrics = json!([{ "type": "Pods", "pods": { "metric": { "name": "rps" } } }]);
    let one = "give exactly one of targetCPU and metrics";
    vec![
        (
            "max is less than min",
            asks(json!({ "min": 3, "max": 3, "targetCPU": 70 })),
            asks(json!({ "min": 3, "max": 2, "targetCPU": 70 })),
        ),
        (one, asks(json!({ "min": 1, "max": 3, "metrics": metrics })), asks(json!({ "min": 1, "max": 3 }))),
        (
            one,
            asks(json!({ "min": 1, "max": 3, "targetCPU": 70, "metrics": [] })),
            asks(json!({ "min": 1, "max": 3, "targetCPU": 70, "metrics": metrics })),
        ),
        (
            "give replicas or autoscaling, not both: what an autoscaler sets would be set back (replicas: null takes it out)",
            vec![(
                "/spec/workloads/1",
                json!({ "name": "mailer", "replicas": 2, "template": worker("Overlap")["template"] }),
            )],
            vec![("/spec/workloads/0/replicas", json!(2))],
        ),
    ]
}

fn worker(handover: &str) -> Value {
    let template = json!({ "spec": { "containers": [{ "name": "mailer", "image": "a" }] } });
    json!({ "name": "mailer", "handover": handover, "template": template })
}

/// Config of so many files of 64 Ki characters.
fn files(name: &str, count: usize) -> Value {
    let data: serde_json::Map<String, Value> =
        (0..count).map(|at| (format!("file-{at}"), "x".repeat(65_536).into())).collect();
    json!({ "name": name, "data": data })
}

/// A migration by a command of a workload's image.
fn by_workload(name: &str) -> Value {
    json!({ "workload": name, "command": ["migrate", "up"], "change": "Expand" })
}

/// The same, with another command that says whether anything is due.
fn asking(name: &str) -> Value {
    let mut migration = by_workload(name);
    migration["pending"] = json!(["migrate", "pending"]);
    migration
}

/// A migration by a pod of its own.
fn by_pod() -> Value {
    let containers = json!([{ "name": "c", "image": "a" }]);
    let pod = json!({ "spec": { "containers": containers, "initContainers": containers } });
    json!({ "pod": pod, "command": ["migrate", "up"], "change": "Expand" })
}

/// A rule that holds at many places.
const TOO_LONG: &str = "longer than 8760h";
/// Rules that are tried elsewhere: the first compares with what was before, the second belongs to Decisions.
const ELSEWHERE: [&str; 2] = [
    "a Decision cannot be changed: create another one",
    "name exactly one of approve, reject, abort, retry, rollback, suspend, resume, promote and expedite",
];

/// A Release that has a value at every place that a rule or pattern is about.
fn full() -> Value {
    let pod = json!({ "spec": {
        "containers": [{ "name": "c", "image": "a" }], "initContainers": [{ "name": "i", "image": "a" }],
    } });
    let mut body = release("shop");
    body["spec"]["workloads"][0]["template"] = pod.clone();
    body["spec"]["workloads"][0]["autoscaling"] = json!({ "min": 1, "max": 3, "metrics": [{ "type": "Resource" }] });
    body["spec"]["workloads"][0]["adopt"] = json!({ "deployment": "shop", "service": "shop", "key": "app" });
    body["spec"]["checks"] = json!([
        { "name": "home", "phase": "Verify", "http": {
            "service": "shop", "host": "shop.example.com", "scheme": "https", "ca": { "configMap": "corp" },
            "send": [{ "name": "X-Forwarded-Proto", "value": "https" }],
            "headers": [{ "name": "X-Frame-Options", "value": "DENY" }], "body": { "contains": "ok" },
        } },
        { "name": "smoke", "phase": "Verify", "job": { "template": pod.clone() } },
        { "name": "errors", "phase": "Verify", "prometheus": {
            "address": "https://prometheus", "ca": { "configMap": "corp" }, "query": "up", "min": "-900", "max": "900",
        } },
        { "name": "certificate", "phase": "Verify", "tls": { "host": "shop", "name": "shop", "ca": { "configMap": "corp" } } },
        { "name": "domain", "phase": "Verify", "dns": { "host": "shop", "addresses": ["203.0.113.9"], "names": ["lb"] } },
        { "name": "rows", "phase": "Verify", "sql": { "query": "SELECT 1", "min": "-900", "max": "900" } },
        { "name": "rate", "phase": "Watch", "http": {
            "service": "shop", "rate": { "over": "1m", "maxFailurePercent": "1", "maxMeanLatency": "1s" },
        } },
    ]);
    body["spec"]["database"] = json!({
        "name": "shop", "backup": { "storage": ["offsite"], "reuse": "6h" },
        "migration": {
            "sql": { "configMap": "shop-1" }, "change": "Expand",
            "rehearse": { "env": [{ "name": "A", "value": "b" }], "contract": pod },
        },
    });
    body["spec"]["hooks"] = json!([{ "name": "flag", "when": "Switch", "job": { "template": pod } }]);
    for part in ["source", "switch", "watch", "rollback", "deadlines"] {
        body["spec"][part] = json!({});
    }
    body["spec"]["jobs"] = jobs();
    body["spec"]["config"] = json!([{ "name": "app", "data": { "app.toml": "" } }]);
    body
}

/// Settings of Jobs with a value at every place that a rule or pattern is about.
pub fn jobs() -> Value {
    json!({
        "serviceAccountName": "jobs", "imagePullSecrets": ["pull"], "nodeSelector": { "disk": "fast" },
        "tolerations": [{ "key": "dedicated", "operator": "Equal", "value": "db", "effect": "NoSchedule" }],
        "resources": { "requests": { "cpu": "10m" }, "limits": { "memory": "64Mi" } },
        "labels": { "team": "shop" }, "annotations": { "sidecar.istio.io/inject": "false" },
    })
}

/// Tries the rule on labels of Jobs.
pub async fn try_job_labels<K: kube::Resource<DynamicType = ()>>(namespace: &Namespace, body: &Value) {
    let admin = &namespace.cluster.admin;
    let with = |key: &str| changed(body.clone(), &[("/spec/jobs/labels", json!({ key: "x" }))]);
    namespace.try_make::<K>(admin, &with("switchback.example.com/verb")).await.unwrap();
    assert_refused(namespace.try_make::<K>(admin, &with("switchback.dev/verb")).await, OUR_LABELS);
}

/// Rule on labels of Jobs.
pub const OUR_LABELS: &str = "labels of switchback.dev are the operator's own";

pub fn changed(mut body: Value, change: &[(&str, Value)]) -> Value {
    for (place, value) in change {
        let (parent, key) = place.rsplit_once('/').unwrap();
        match body.pointer_mut(parent).unwrap() {
            Value::Array(list) if key.parse() == Ok(list.len()) => list.push(value.clone()),
            Value::Array(list) => list[key.parse::<usize>().unwrap()] = value.clone(),
            object => object[key] = value.clone(),
        }
    }
    body
}

/// What a schema demands at one place.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Demand {
    Pattern(String),
    Rule(String),
}

/// Collects every pattern and rule of a schema with its place in an object.
fn demands(schema: &Value, place: &str, found: &mut BTreeSet<(String, Demand)>) {
    if let Some(pattern) = schema["pattern"].as_str() {
        found.insert((place.to_owned(), Demand::Pattern(pattern.to_owned())));
    }
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        // Of one that names values the words before them.
        let told = || rule["messageExpression"].as_str()?.split('\'').nth(1)?.split(": ").next();
        let message = rule["message"].as_str().or_else(told).expect("a rule without words").to_owned();
        found.insert((place.to_owned(), Demand::Rule(message)));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        // The full Release has a check of each kind, and one more with a rate.
        let of_kind = KINDS.iter().find(|(kind, _)| kind == name && place.ends_with("/checks/0"));
        let place = match of_kind {
            Some((_, number)) => place.replace("/checks/0", &format!("/checks/{number}")),
            None if name == "rate" => place.replace("/checks/0", "/checks/6"),
            None => place.to_owned(),
        };
        demands(property, &format!("{place}/{name}"), found);
    }
    if schema["items"].is_object() {
        demands(&schema["items"], &format!("{place}/0"), found);
    }
    if schema["additionalProperties"].is_object() {
        demands(&schema["additionalProperties"], &format!("{place}/*"), found);
    }
}

pub fn all_demands(kind: &str) -> BTreeSet<(String, Demand)> {
    let crd = crds().into_iter().find(|crd| crd.spec.names.kind == kind).unwrap();
    let mut found = BTreeSet::new();
    for version in crd.spec.versions {
        let schema = version.schema.unwrap().open_api_v3_schema.unwrap();
        demands(&serde_json::to_value(schema).unwrap(), "", &mut found);
    }
    // Nobody but the controller writes status.
    found.retain(|(place, _)| place.starts_with("/spec"));
    assert!(!found.is_empty());
    found
}

/// Tries every pattern and the bound of durations at every place of a kind.
pub async fn try_patterns<K: kube::Resource<DynamicType = ()>>(namespace: &Namespace, kind: &str, body: Value) {
    let admin = &namespace.cluster.admin;
    for (place, demand) in all_demands(kind) {
        let (good, bad, words): (&[&str], &[&str], String) = match &demand {
            Demand::Pattern(pattern) => {
                let examples = PATTERNS.iter().find(|(known, _, _)| known == pattern);
                let (_, good, bad) = examples.unwrap_or_else(|| panic!("no examples of {pattern} at {place}"));
                (good, bad, format!("should match '{pattern}'"))
            }
            Demand::Rule(message) if message == TOO_LONG => {
                (&["8760h"], &["8761h", "525601m", "300000000000000h"], TOO_LONG.to_owned())
            }
            Demand::Rule(_) => continue,
        };
        let with = |text: &str| {
            let mut body = body.clone();
            // What is adopted is one of the Services.
            if place.ends_with("/services/0/name") {
                body["spec"]["workloads"][0].as_object_mut().unwrap().remove("adopt");
            }
            // A storage is one or the other.
            if place.starts_with("/spec/volume/") {
                body["spec"] = json!({ "volume": { "claim": "disk" } });
            }
            if place.starts_with("/spec/rollback/") && kind == "Decision" {
                body["spec"].as_object_mut().unwrap().remove("approve");
                body["spec"]["rollback"] = json!({});
            }
            // A migration is files of SQL or something that runs a command.
            if place.starts_with("/spec/database/migration/pod/") {
                body["spec"]["database"]["migration"] = by_pod();
            }
            // Authorities are for https alone.
            if place.ends_with("/prometheus/address") {
                body["spec"]["checks"][2]["prometheus"].as_object_mut().unwrap().remove("ca");
            }
            // A statement waits no longer than all of them may take.
            if place == "/spec/database/migration/timeout" {
                body["spec"]["database"]["migration"]["lockTimeout"] = "0s".into();
            }
            if place == "/spec/database/migration/lockTimeout" {
                body["spec"]["database"]["migration"]["timeout"] = "8760h".into();
            }
            // A rate takes a window that is as long.
            if place == "/spec/watch/for" {
                body["spec"]["checks"].as_array_mut().unwrap().pop();
            }
            let mut body = changed(body, &[(&place, text.into())]);
            if place.ends_with("/services/0/name") {
                for check in [0, 6] {
                    body["spec"]["checks"][check]["http"]["service"] = text.into();
                }
            }
            body
        };
        // A request may not take that long; that rule has examples of its own.
        // Nor may people be given less than a minute to read what others approved.
        let short = |text: &str| place.ends_with("/approval/expires") && !text.ends_with(['m', 'h']);
        let of_check = place.contains("/checks/") && !place.contains("/job/");
        let bounded = |text: &str| match place.rsplit('/').next().unwrap() {
            "timeout" => text == "8760h",
            "every" => text == "500ms" && !place.contains("/http/"),
            "over" => ["500ms", "8760h"].contains(&text),
            "maxFailurePercent" => text.starts_with('-'),
            _ => false,
        };
        let of_hook = place.contains("/hooks/");
        let elsewhere = |text: &str| ((of_check || of_hook) && bounded(text)) || short(text);
        for text in good.iter().filter(|text| !elsewhere(text)) {
            let answer = namespace.try_make::<K>(admin, &with(text)).await;
            assert!(answer.is_ok(), "{kind} {place} {text:?}: {answer:?}");
        }
        for text in bad {
            let said = refusal(namespace.try_make::<K>(admin, &with(text)).await);
            let numbered = |place: String, number: usize| place.replace(&format!("/{number}"), &format!("[{number}]"));
            let place = (0..7).fold(place.trim_start_matches('/').to_owned(), numbered).replace('/', ".");
            assert!(said.contains(&place), "{text:?} is refused without naming {place}: {said}");
            // Where there is a shortest or a longest, length is looked at first.
            let length = said.contains("Too long") || text.is_empty();
            assert!(said.contains(&words) || length, "{place} {text:?} is refused otherwise: {said}");
        }
    }
}

#[tokio::test]
async fn input_04_and_input_50_every_pattern_accepts_and_refuses() {
    in_namespace("schema", async |namespace| {
        try_patterns::<Release>(namespace, "Release", full()).await;
        let me = namespace.cluster.me().await;
        try_patterns::<Decision>(namespace, "Decision", approval("shop", UID, &me)).await;
    })
    .await;
}

#[tokio::test]
async fn every_rule_accepts_and_refuses() {
    in_namespace("schema", async |namespace| {
        let admin = &namespace.cluster.admin;
        let rules = rules();
        for kind in ["Release", "Decision"] {
            for (place, demand) in all_demands(kind) {
                let Demand::Rule(message) = demand else { continue };
                let known = rules.iter().any(|(known, _, _)| *known == message);
                let elsewhere =
                    [TOO_LONG, OUR_LABELS].contains(&message.as_str()) || ELSEWHERE.contains(&message.as_str());
                assert!(known || elsewhere, "no examples of the rule {message:?} at {place}");
            }
        }
        namespace.try_make::<Release>(admin, &full()).await.unwrap();
        try_job_labels::<Release>(namespace, &full()).await;
        for (message, keeps, breaks) in rules {
            let answer = namespace.try_make::<Release>(admin, &changed(full(), &keeps)).await;
            assert!(answer.is_ok(), "{message}: {answer:?}");
            assert_refused(namespace.try_make::<Release>(admin, &changed(full(), &breaks)).await, message);
        }
        let good = approval("shop", UID, &namespace.cluster.me().await);
        namespace.try_make::<Decision>(admin, &good).await.unwrap();
        for other in DecisionKind::VARIANTS.iter().filter(|kind| **kind != "approve") {
            let both = changed(good.clone(), &[(&format!("/spec/{other}"), json!({}))]);
            assert_refused(namespace.try_make::<Decision>(admin, &both).await, ELSEWHERE[1]);
        }
        let mut neither = good;
        neither["spec"].as_object_mut().unwrap().remove("approve");
        assert_refused(namespace.try_make::<Decision>(admin, &neither).await, ELSEWHERE[1]);
    })
    .await;
}

#[tokio::test]
async fn input_01_what_is_empty_unknown_mistyped_or_missing_is_named() {
    in_namespace("schema", async |namespace| {
        let table: [(&str, Value, &str); 16] = [
            ("/spec", json!({}), "spec.version: Required value"),
            ("/spec/wrong", json!(1), r#"unknown field "spec.wrong""#),
            ("/spec/workloads/0/replica", json!(1), r#"unknown field "spec.workloads[0].replica""#),
            (
                "/spec/workloads/0/template/metadata",
                json!({ "name": "x" }),
                r#"unknown field "spec.workloads[0].template.metadata.name""#,
            ),
            ("/spec/checks/0/http/Path", json!("/"), r#"unknown field "spec.checks[0].http.Path""#),
            ("/spec/version", json!(2), "spec.version: Invalid value"),
            ("/spec/version", Value::Null, "spec.version: Required value"),
            ("/spec/version", json!(""), "spec.version: Invalid value"),
            ("/spec/workloads", Value::Null, "spec.workloads: Required value"),
            ("/spec/workloads", json!([]), "spec.workloads: Invalid value"),
            (
                "/spec/workloads/0/services/0/spec/ports",
                json!([]),
                "spec.workloads[0].services[0].spec.ports: Invalid value",
            ),
            (
                "/spec/workloads/0/template/spec/containers",
                json!([]),
                "spec.workloads[0].template.spec.containers: Invalid value",
            ),
            ("/spec/workloads/0/replicas", json!("two"), "spec.workloads[0].replicas: Invalid value"),
            ("/spec/mode", json!("Sometimes"), r#"supported values: "Manual", "Automatic""#),
            ("/spec/database/migration/change", json!("Shrink"), r#"supported values: "Expand", "Contract""#),
            ("/spec/database/migration/change", Value::Null, "spec.database.migration.change: Required value"),
        ];
        for (place, value, words) in table {
            let answer =
                namespace.try_make::<Release>(&namespace.cluster.admin, &changed(full(), &[(place, value)])).await;
            assert_refused(answer, words);
        }
        let gates = r#"supported values: "Release", "Contract", "DataLoss""#;
        let table: [(&str, Value, &str); 7] = [
            ("/spec/approve/gate", json!("Swap"), gates),
            ("/spec/approve/gates", json!(["Contract"]), r#"unknown field "spec.approve.gates""#),
            ("/spec", json!({}), "spec.actor: Required value"),
            ("/spec/wrong", json!(1), r#"unknown field "spec.wrong""#),
            ("/spec/actor", json!(""), "spec.actor: Invalid value"),
            ("/spec/target/kind", json!("Deployment"), "spec.target.kind: Unsupported value"),
            ("/spec/approve/digest", Value::Null, "spec.approve.digest: Required value"),
        ];
        for (place, value, words) in table {
            let body = changed(approval("shop", UID, "anna"), &[(place, value)]);
            assert_refused(namespace.try_make::<Decision>(&namespace.cluster.admin, &body).await, words);
        }
    })
    .await;
}

#[tokio::test]
async fn input_02_and_input_50_what_is_too_long_or_too_many_is_refused_with_its_limit() {
    in_namespace("schema", async |namespace| {
        // A small one: ten thousand are more than the API server reads otherwise.
        let workload = release("shop")["spec"]["workloads"][0].clone();
        let check = full()["spec"]["checks"][0].clone();
        let many = |value: &Value, count: usize| Value::Array(vec![value.clone(); count]);
        let many_files = (0..65).map(|at| (format!("file-{at}"), Value::from("x"))).collect();
        let table: [(&str, Value, &str); 16] = [
            ("/spec/config", json!(vec![files("a", 1); 9]), "must have at most 8 items"),
            ("/spec/config/0/name", "x".repeat(64).into(), "may not be more than 63"),
            ("/spec/config/0/data", json!({}), "should have at least 1 properties"),
            ("/spec/config/0/data", many_files, "must have at most 64 items"),
            ("/spec/version", "x".repeat(65).into(), "may not be more than 64"),
            ("/spec/notes", "x".repeat(4097).into(), "may not be more than 4096"),
            ("/spec/workloads/0/name", "x".repeat(41).into(), "may not be more than 40"),
            ("/spec/workloads/0/services/0/name", "x".repeat(56).into(), "may not be more than 55"),
            ("/spec/workloads", many(&workload, 10_000), "must have at most 16 items"),
            ("/spec/checks", many(&check, 33), "must have at most 32 items"),
            ("/spec/workloads/0/replicas", json!(0), "greater than or equal to 1"),
            ("/spec/workloads/0/replicas", json!(10_001), "less than or equal to 10000"),
            ("/spec/watch/readyPercent", json!(101), "less than or equal to 100"),
            ("/spec/watch/readyPercent", json!(0), "greater than or equal to 1"),
            ("/spec/watch/immediateBelow", json!(101), "less than or equal to 100"),
            ("/spec/historyLimit", json!(21), "less than or equal to 20"),
        ];
        for (place, value, words) in table {
            let answer =
                namespace.try_make::<Release>(&namespace.cluster.admin, &changed(full(), &[(place, value)])).await;
            assert_refused(answer, words);
        }
        let names = changed(full(), &[("/spec/checks/1/name", "home".into())]);
        assert_refused(namespace.try_make::<Release>(&namespace.cluster.admin, &names).await, "Duplicate value");
    })
    .await;
}

/// What the schema leaves open is bounded by the API server itself: what it stores, and what it reads at all.
#[tokio::test]
async fn input_02_an_object_of_more_than_the_api_server_takes_is_refused_whole() {
    in_namespace("schema", async |namespace| {
        let admin = &namespace.cluster.admin;
        // More than 1.5 MiB are not stored, so a dry run would not tell.
        for (bytes, words) in
            [(1_600_000, "etcdserver: request is too large"), (3_200_000, "Request entity too large: limit is 3145728")]
        {
            let args = json!(["x".repeat(bytes)]);
            let body = changed(release("shop"), &[("/spec/workloads/0/template/spec/containers/0/args", args)]);
            assert_refused(namespace.make::<Release>(admin, &body).await, words);
        }
        // Nothing of either is there, and one that fits takes the same name.
        namespace.make::<Release>(admin, &release("shop")).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn input_25_a_password_inline_is_refused_wherever_a_database_is_reached() {
    in_namespace("schema", async |namespace| {
        let admin = &namespace.cluster.admin;
        let command = changed(full(), &[("/spec/database/migration", by_workload("web"))]);
        for inline in INLINE {
            let body = changed(command.clone(), &[("/spec/database/migration/command", json!(["migrate", inline]))]);
            let said = refusal(namespace.try_make::<Release>(admin, &body).await);
            assert!(said.contains("spec.database.migration: Invalid value"), "{said}");
            // The answer says where, and what to do instead.
            assert!(said.contains("CredentialsInline: a password stands in a command"), "{said}");
        }
        let url = INLINE[0];
        for (place, says) in [
            ("/spec/database/url", r#"unknown field "spec.database.url""#),
            ("/spec/database/name", "spec.database.name: Invalid value"),
            ("/spec/checks/5/sql/url", r#"unknown field "spec.checks[5].sql.url""#),
            ("/spec/database/migration/rehearse/env/0/value", "CredentialsInline: a password stands in the value"),
        ] {
            let answer = namespace.try_make::<Release>(admin, &changed(full(), &[(place, url.into())])).await;
            assert_refused(answer, says);
        }
        let address = [("/spec/checks/2/prometheus/address", "https://user:secret@prometheus".into())];
        let says = "spec.checks[2].prometheus.address: Invalid value";
        assert_refused(namespace.try_make::<Release>(admin, &changed(full(), &address)).await, says);
    })
    .await;
}

#[tokio::test]
async fn input_45_nothing_that_is_kept_for_going_back_is_kept_for_less_than_nothing() {
    in_namespace("schema", async |namespace| {
        let admin = &namespace.cluster.admin;
        for (place, value, says) in [
            ("/spec/historyLimit", json!(0), "should be greater than or equal to 1"),
            ("/spec/historyLimit", json!(-1), "should be greater than or equal to 1"),
            ("/spec/rollback/keepPrevious", json!("-24h"), "spec.rollback.keepPrevious: Invalid value"),
            ("/spec/database/backup/reuse", json!("-6h"), "spec.database.backup.reuse: Invalid value"),
            // Nobody is promised what nothing does.
            ("/spec/database/backup/keep", json!(0), r#"unknown field "spec.database.backup.keep""#),
        ] {
            let answer = namespace.try_make::<Release>(admin, &changed(full(), &[(place, value)])).await;
            assert_refused(answer, says);
        }
        let shortest = [("/spec/historyLimit", json!(1)), ("/spec/rollback/keepPrevious", json!("0s"))];
        namespace.try_make::<Release>(admin, &changed(full(), &shortest)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn input_51_times_that_cannot_be_kept_are_refused() {
    in_namespace("schema", async |namespace| {
        let admin = &namespace.cluster.admin;
        let migration =
            [("/spec/database/migration/timeout", json!("90s")), ("/spec/database/migration/lockTimeout", json!("2m"))];
        let says = "lockTimeout is longer than timeout: 2m and 90s";
        assert_refused(namespace.try_make::<Release>(admin, &changed(full(), &migration)).await, says);
        let ready = [("/spec/workloads/0/minReadySeconds", json!(45)), ("/spec/deadlines/deploy", json!("30s"))];
        let says = "deadlines.deploy is not longer than the minReadySeconds of a workload: 30s";
        assert_refused(namespace.try_make::<Release>(admin, &changed(full(), &ready)).await, says);
        let window = [("/spec/watch/for", json!("1m")), ("/spec/checks/6/http/rate/over", json!("2m"))];
        let says = "the rate of an http check is over more than watch.for";
        assert_refused(namespace.try_make::<Release>(admin, &changed(full(), &window)).await, says);
    })
    .await;
}

#[tokio::test]
async fn every_example_of_the_docs_is_accepted() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/checks.md");
    let page = std::fs::read_to_string(page).unwrap();
    let blocks = page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let checks: Vec<Value> = blocks.flat_map(|block| serde_yaml::from_str::<Vec<Value>>(block).unwrap()).collect();
    assert!(checks.len() > 10, "{}", checks.len());
    in_namespace("schema", async |namespace| {
        let body = changed(full(), &[("/spec/checks", checks.into())]);
        namespace.try_make::<Release>(&namespace.cluster.admin, &body).await.unwrap();
    })
    .await;
}

/// Examples that are whole objects, as somebody would apply them.
#[tokio::test]
async fn every_object_of_the_docs_is_accepted() {
    let mut kinds = BTreeSet::new();
    in_namespace("schema", async |namespace| {
        let admin = &namespace.cluster.admin;
        for file in [
            "README.md",
            "docs/adoption.md",
            "docs/config.md",
            "docs/databases.md",
            "docs/policies.md",
            "docs/rehearsals.md",
        ] {
            let page = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
            let blocks = page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
            let documents = blocks.flat_map(|block| block.split("---\n")).map(|text| {
                serde_yaml::from_str::<Value>(text).unwrap_or_else(|error| panic!("{file}: {error}: {text}"))
            });
            for object in documents.filter(|document| document["kind"].is_string()) {
                let kind = object["kind"].as_str().unwrap().to_owned();
                let made = match kind.as_str() {
                    "Release" => namespace.try_make::<Release>(admin, &object).await.map(drop),
                    "ReleasePolicy" => namespace.try_make::<ReleasePolicy>(admin, &object).await.map(drop),
                    "DatabaseInstance" => namespace.try_make::<DatabaseInstance>(admin, &object).await.map(drop),
                    "BackupStorage" => namespace.try_make::<BackupStorage>(admin, &object).await.map(drop),
                    "NetworkPolicy" => namespace.try_make::<NetworkPolicy>(admin, &object).await.map(drop),
                    "DatabaseBackup" => namespace.try_make::<DatabaseBackup>(admin, &object).await.map(drop),
                    _ => continue,
                };
                made.unwrap_or_else(|error| panic!("{file}: {kind}: {error}"));
                kinds.insert(kind);
            }
        }
    })
    .await;
    assert_eq!(kinds.len(), 6, "{kinds:?}");
}

#[tokio::test]
async fn a_new_release_says_that_nobody_has_looked_at_it() {
    in_namespace("schema", async |namespace| {
        let made = namespace.make::<Release>(&namespace.cluster.admin, &release("shop")).await.unwrap();
        assert_eq!(made.data["status"]["observedGeneration"], -1);
        // A mode that is not said is the policies' to say.
        assert_eq!(made.data["spec"]["mode"], Value::Null);
        assert_eq!(made.data["spec"]["watch"]["for"], "15m");
        // What our types read and write again is what the server stores: no release begins because of that.
        let read: Release = namespace.api(&namespace.cluster.admin).get("shop").await.unwrap();
        assert_eq!(serde_json::to_value(&read.spec).unwrap(), made.data["spec"]);
    })
    .await;
}
