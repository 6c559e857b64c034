//! Names: what the resolver of the cluster answers for them.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
};

use super::judge::{Sample, Says};
use crate::api::DnsCheck;

/// How the resolver says that there is no such name, or none with an address; anything else may pass.
const NO_SUCH_NAME: [&str; 2] = ["Name or service not known", "No address associated with hostname"];

/// Asks once.
pub(super) async fn sample(check: &DnsCheck) -> Sample {
    let asked = tokio::time::timeout(check.timeout.as_std(), resolve(check)).await;
    let (says, detail) = asked.unwrap_or_else(|_| (Says::Silent, format!("{}: no answer in time", check.host)));
    Sample::one(says, detail)
}

async fn resolve(check: &DnsCheck) -> (Says, String) {
    let host = &check.host;
    let found = match look_up(host).await {
        Ok(found) => found,
        Err(error) => {
            let said = error.to_string();
            let says = if NO_SUCH_NAME.iter().any(|known| said.contains(known)) { Says::Breach } else { Says::Silent };
            return (says, format!("{host}: {said}"));
        }
    };
    let mut expected: BTreeSet<IpAddr> = check.addresses.iter().filter_map(|address| address.parse().ok()).collect();
    for name in &check.names {
        match look_up(name).await {
            Ok(more) => expected.extend(more),
            Err(error) => return (Says::Silent, format!("{name}, which {host} is compared with: {error}")),
        }
    }
    judge(check, &found, &expected)
}

fn judge(check: &DnsCheck, found: &BTreeSet<IpAddr>, expected: &BTreeSet<IpAddr>) -> (Says, String) {
    let host = &check.host;
    let resolves = format!("{host} resolves to {}", list(found));
    if found.is_empty() {
        return (Says::Breach, format!("{host} resolves to nothing"));
    }
    let anything = check.addresses.is_empty() && check.names.is_empty();
    if anything || found.is_subset(expected) {
        return (Says::Within, resolves);
    }
    (Says::Breach, format!("{resolves}, expected nothing but {}", list(expected)))
}

async fn look_up(name: &str) -> io::Result<BTreeSet<IpAddr>> {
    Ok(tokio::net::lookup_host((name, 0)).await?.map(|address: SocketAddr| address.ip().to_canonical()).collect())
}

fn list(addresses: &BTreeSet<IpAddr>) -> String {
    let words: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    words.join(", ")
}
