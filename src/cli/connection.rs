//! kubectl's connection flags, and the client they lead to.

use std::{future::Future, path::PathBuf, time::Duration};

use clap::Args;
use http::{HeaderValue, header::USER_AGENT};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use super::problem::{Exit, Problem};
use crate::error::Error;

/// How long one call may take unless the caller says otherwise.
const LIMIT: Duration = Duration::from_secs(30);
/// What kubectl calls no limit.
const NO_LIMIT: Duration = Duration::from_secs(365 * 24 * 3600);

/// Flags as kubectl has them.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection")]
pub struct Flags {
    /// Namespace (default: that of the context)
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Context of the kubeconfig to use
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Cluster of the kubeconfig to use
    #[arg(long, global = true, value_name = "NAME")]
    pub cluster: Option<String>,
    /// User of the kubeconfig to use
    #[arg(long, global = true, value_name = "NAME")]
    pub user: Option<String>,
    /// Path of the kubeconfig (default: $KUBECONFIG, else ~/.kube/config)
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Address of the API server
    #[arg(short, long, global = true, value_name = "URL")]
    pub server: Option<String>,
    /// User to act as
    #[arg(long = "as", global = true, value_name = "USER")]
    pub impersonate: Option<String>,
    /// Group to act as; may be given more than once
    #[arg(long = "as-group", global = true, value_name = "GROUP")]
    pub impersonate_groups: Vec<String>,
    /// How long one call to the API server may take: 30s, 2m, or seconds; 0 for no limit
    #[arg(long, global = true, value_name = "TIME", value_parser = time, default_value = "30s")]
    pub request_timeout: Duration,
}

/// A way to the cluster.
#[derive(Clone)]
pub struct Cluster {
    /// The client.
    pub client: Client,
    /// The namespace that is meant.
    pub namespace: String,
    /// How long one call may take.
    pub limit: Duration,
}

impl Cluster {
    /// Runs one call under the caller's limit.
    ///
    /// # Errors
    /// A [`Problem`] that names the operation and the object.
    pub async fn ask<T>(
        &self,
        doing: &'static str,
        object: &str,
        answer: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Problem> {
        let object = object.to_owned();
        match tokio::time::timeout(self.limit, answer).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(source)) => Err(Error::Api { doing, object, source: Box::new(source) }.into()),
            Err(_) => Err(Error::Timeout { doing, object, limit: self.limit }.into()),
        }
    }
}

/// Connects as the flags say.
///
/// # Errors
/// When there is no usable kubeconfig.
pub async fn connect(flags: &Flags) -> Result<Cluster, Problem> {
    let mut config = load(flags).await?;
    if let Some(server) = &flags.server {
        config.cluster_url = url(server)?;
    }
    if let Some(user) = &flags.impersonate {
        config.auth_info.impersonate = Some(user.clone());
    }
    if !flags.impersonate_groups.is_empty() {
        config.auth_info.impersonate_groups = Some(flags.impersonate_groups.clone());
    }
    // Retries would hide what the server says for minutes; a person is there to try again.
    config.default_retry = false;
    // Audit logs then tell a person's decision by this plugin from any other client's.
    let agent = HeaderValue::from_static(concat!("kubectl-switchback/", env!("CARGO_PKG_VERSION")));
    config.headers.push((USER_AGENT, agent));
    let namespace = flags.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config).map_err(|error| unusable(&error))?;
    Ok(Cluster { client, namespace, limit: flags.request_timeout })
}

async fn load(flags: &Flags) -> Result<Config, Problem> {
    let options =
        KubeConfigOptions { context: flags.context.clone(), cluster: flags.cluster.clone(), user: flags.user.clone() };
    if let Some(path) = &flags.kubeconfig {
        let kubeconfig = Kubeconfig::read_from(path).map_err(|error| unusable(&error))?;
        return Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| unusable(&error));
    }
    match Config::from_kubeconfig(&options).await {
        Ok(config) => Ok(config),
        // Inside a pod, as kubectl does; a flag that names a part of a kubeconfig must not be ignored there.
        Err(error) if options.context.is_none() && options.cluster.is_none() && options.user.is_none() => {
            match (Config::incluster(), &flags.server) {
                (Ok(config), _) => Ok(config),
                (Err(_), Some(server)) => Ok(Config::new(url(server)?)),
                (Err(_), None) => Err(unusable(&error)),
            }
        }
        Err(error) => Err(unusable(&error)),
    }
}

fn url(text: &str) -> Result<http::Uri, Problem> {
    let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    full.parse().map_err(|error| {
        Problem::new(Exit::Usage, format!("cannot use --server {text}"), format!("it is no address ({error})"))
    })
}

fn unusable(error: &dyn std::error::Error) -> Problem {
    Problem::new(Exit::Failed, "cannot connect to a cluster", error.to_string())
        .next("kubectl config get-contexts, then --context NAME or --kubeconfig FILE")
}

fn time(text: &str) -> Result<Duration, String> {
    let limit = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => text.parse::<crate::api::Duration>().map_err(|error| error.to_string())?.as_std(),
    };
    Ok(if limit.is_zero() { NO_LIMIT } else { limit })
}

impl Default for Flags {
    fn default() -> Self {
        Self {
            namespace: None,
            context: None,
            cluster: None,
            user: None,
            kubeconfig: None,
            server: None,
            impersonate: None,
            impersonate_groups: Vec::new(),
            request_timeout: LIMIT,
        }
    }
}
