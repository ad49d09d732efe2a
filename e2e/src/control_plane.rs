//! A Kubernetes control plane on loopback: etcd, kube-apiserver, and as asked for kube-scheduler and
//! kube-controller-manager, each on ports that were free.
//!
//! ```no_run
//! use stowage_e2e::{ControlPlane, Options};
//! let plane = ControlPlane::start(&Options { scheduler: Some(Options::scheduler()), ..Options::default() })?;
//! let nodes = plane.client().get("/api/v1/nodes")?;
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! # Invariants
//! - Ready means that every component says so at its own endpoint; nothing is waited for by the clock.
//! - Nothing keeps running after us, whatever ends us; see [`crate::process`].
//! - Whoever knows the token may do anything: there is no RBAC unless it is asked for, no service account that pods get by
//!   themselves, and no quota. Pods are admitted as they
//!   are, and nodes without the taint of nodes that are not ready. Nothing is kept: etcd does not even sync its files.
//! - The folder with the logs goes with the control plane, except in a panic or after [`ControlPlane::keep_logs`].

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::client::Client;
use crate::components::Components;
use crate::process::Process;

/// A component that is not ready by then never will be; each takes seconds.
const PATIENCE: Duration = Duration::from_mins(2);

/// How often readiness is asked for.
const EVERY: Duration = Duration::from_millis(25);

/// Admission that suites do without: it needs controllers that do not run, or only takes time.
const NO_ADMISSION: &str = "ServiceAccount,TaintNodesByCondition,StorageObjectInUseProtection,LimitRanger,ResourceQuota,\
DefaultTolerationSeconds,CertificateApproval,CertificateSigning,CertificateSubjectRestriction,\
DefaultIngressClass,PersistentVolumeClaimResize,ValidatingAdmissionPolicy,ValidatingAdmissionWebhook,ClusterTrustBundleAttest";

/// What runs beside etcd and kube-apiserver.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// kube-scheduler, with this `KubeSchedulerConfiguration`; how it connects is filled in.
    pub scheduler: Option<Value>,
    /// Whether kube-controller-manager runs.
    pub controller_manager: bool,
    /// For how many seconds a node may be silent; 50 where it is not stated. Thousands that report every ten seconds leave little
    /// time for anything else.
    pub silence: Option<u32>,
    /// Whether namespaces can ask for a level of pod security.
    pub pod_security: bool,
    /// Whether service accounts may do only what roles allow them.
    pub rbac: bool,
}

impl Options {
    /// The configuration of a scheduler as clusters have it by default.
    pub fn scheduler() -> Value {
        json!({"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"})
    }
}

/// A file in folders that are to stay.
const KEPT: &str = "kept";

/// A running control plane.
#[derive(Debug)]
pub struct ControlPlane {
    client: Client,
    kubeconfig: PathBuf,
    server: String,
    certificate: PathBuf,
    folder: PathBuf,
    keep: Mutex<bool>,
    /// In the order in which they were started; they end in the opposite one.
    processes: Vec<Process>,
}

impl ControlPlane {
    /// Starts a control plane and waits until it is ready. The first time ever this builds its programs.
    ///
    /// # Errors
    /// Where a component does not become ready: the message ends with what it printed last.
    pub fn start(options: &Options) -> Result<Self> {
        let components = Components::ready()?;
        let folder = folder()?;
        let [etcd_port, peer_port, api_port, scheduler_port, manager_port] = free_ports()?;
        let token = token()?;
        let server = format!("https://127.0.0.1:{api_port}");
        let certificate = folder.join("certificates/apiserver.crt");
        let kubeconfig = folder.join("kubeconfig");
        fs::write(folder.join("tokens.csv"), format!("{token},e2e,e2e,system:masters\n"))?;
        fs::write(&kubeconfig, kubeconfig_of(&server, &certificate, &token).to_string())?;

        let mut starting = Starting { components, folder, processes: Vec::new() };
        starting.etcd(etcd_port, peer_port)?;
        let client = starting.api_server(api_port, etcd_port, &certificate, &token, options)?;
        if let Some(config) = &options.scheduler {
            starting.scheduler(config, scheduler_port, &kubeconfig, &certificate)?;
        }
        if options.controller_manager {
            let silence = format!("{}s", options.silence.unwrap_or(50));
            starting.controller_manager(manager_port, &kubeconfig, &certificate, &silence)?;
        }
        // Both start at the same time; each has its own endpoint to ask.
        if options.scheduler.is_some() {
            starting.wait_for("kube-scheduler", &|| is_ready(&certificate, scheduler_port, "/readyz"))?;
        }
        if options.controller_manager {
            starting
                .wait_for("kube-controller-manager", &|| is_ready(&certificate, manager_port, "/healthz"))?;
        }
        let Starting { folder, processes, .. } = starting;
        Ok(Self { client, kubeconfig, server, certificate, folder, keep: Mutex::new(false), processes })
    }

    /// A client that may do anything.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The path of a kubeconfig that may do anything.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// URL of the API server.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Writes a kubeconfig for whoever has this token, and gives its path.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn kubeconfig_of(&self, name: &str, token: &str) -> Result<PathBuf> {
        let path = self.folder.join(format!("kubeconfig-{name}"));
        fs::write(&path, kubeconfig_of(&self.server, &self.certificate, token).to_string())?;
        Ok(path)
    }

    /// The folder with the components' logs.
    pub fn logs(&self) -> &Path {
        &self.folder
    }

    /// Ends a component without warning and starts it again: `kube-apiserver`, `kube-scheduler`. What waits for it to be ready is
    /// the caller's business.
    ///
    /// # Errors
    /// Where no such component runs, or it cannot be started.
    pub fn restart(&mut self, name: &str) -> Result<()> {
        let process = self.processes.iter_mut().find(|process| process.name() == name);
        process.with_context(|| format!("no {name} runs"))?.restart()
    }

    /// Leaves the folder with the logs behind.
    pub fn keep_logs(&self) {
        if let Ok(mut keep) = self.keep.lock() {
            *keep = true;
        }
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        while let Some(last) = self.processes.pop() {
            drop(last);
        }
        if thread::panicking() || self.keep.lock().is_ok_and(|keep| *keep) {
            let _ = fs::write(self.folder.join(KEPT), "");
            eprintln!("the control plane's logs are in {}", self.folder.display());
        } else {
            // There is no one to tell of an error, and all it leaves is a folder among temporary ones.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// A control plane that is not ready yet. What was started ends with it, and its logs stay.
struct Starting {
    components: Components,
    folder: PathBuf,
    processes: Vec<Process>,
}

impl Starting {
    fn run(&mut self, name: &str, flags: &[(&str, &dyn std::fmt::Display)]) -> Result<()> {
        let flags: Vec<OsString> =
            flags.iter().map(|(flag, value)| format!("--{flag}={value}").into()).collect();
        self.processes.push(Process::start(name, &self.components.program(name), &flags, &self.folder)?);
        Ok(())
    }

    fn wait_for(&mut self, name: &str, ready: &dyn Fn() -> bool) -> Result<()> {
        let started = Instant::now();
        while !ready() {
            for process in &mut self.processes {
                if let Some(status) = process.ended() {
                    bail!("{} ended by itself ({status}):\n{}", process.name(), tail(process.log()));
                }
            }
            if started.elapsed() > PATIENCE {
                let log = self.folder.join(format!("{name}.log"));
                bail!("{name} was not ready after {} s:\n{}", PATIENCE.as_secs(), tail(&log));
            }
            thread::sleep(EVERY);
        }
        Ok(())
    }

    fn etcd(&mut self, port: u16, peer_port: u16) -> Result<()> {
        let data = self.folder.join("etcd");
        let (url, peers) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer_port}"));
        self.run(
            "etcd",
            &[
                ("data-dir", &data.display()),
                ("listen-client-urls", &url),
                ("advertise-client-urls", &url),
                ("listen-peer-urls", &peers),
                ("initial-advertise-peer-urls", &peers),
                ("initial-cluster", &format!("default={peers}")),
                ("unsafe-no-fsync", &true),
                ("log-level", &"warn"),
            ],
        )?;
        self.wait_for("etcd", &|| {
            ureq::get(format!("{url}/health")).call().is_ok_and(|answer| answer.status() == 200)
        })
    }

    fn api_server(
        &mut self,
        port: u16,
        etcd_port: u16,
        certificate: &Path,
        token: &str,
        options: &Options,
    ) -> Result<Client> {
        let security = if options.pod_security { "" } else { ",PodSecurity" };
        let certificates = self.folder.join("certificates");
        // The key of the server's own certificate, which it makes before it reads this one, signs for service accounts too.
        let key = certificates.join("apiserver.key");
        let tokens = self.folder.join("tokens.csv");
        self.run(
            "kube-apiserver",
            &[
                ("etcd-servers", &format!("http://127.0.0.1:{etcd_port}")),
                ("bind-address", &"127.0.0.1"),
                ("advertise-address", &"127.0.0.1"),
                ("secure-port", &port),
                ("cert-dir", &certificates.display()),
                ("token-auth-file", &tokens.display()),
                ("authorization-mode", &if options.rbac { "RBAC" } else { "AlwaysAllow" }),
                ("service-account-issuer", &"https://localhost"),
                ("service-account-key-file", &key.display()),
                ("service-account-signing-key-file", &key.display()),
                ("service-cluster-ip-range", &"10.96.0.0/16"),
                ("endpoint-reconciler-type", &"none"),
                ("disable-admission-plugins", &format!("{NO_ADMISSION}{security}")),
                // As EKS has it.
                ("allow-privileged", &true),
                ("enable-priority-and-fairness", &false),
                ("max-requests-inflight", &0),
                ("max-mutating-requests-inflight", &0),
                ("delete-collection-workers", &4),
                // In seconds. Watches end after one or two times this, by default half an hour; here they last as long as we.
                ("min-request-timeout", &1_000_000),
                ("event-ttl", &"5m"),
                ("profiling", &false),
            ],
        )?;
        let server = format!("https://127.0.0.1:{port}");
        self.wait_for("kube-apiserver", &|| {
            Client::new(&server, certificate, token)
                .and_then(|client| client.send("GET", "/readyz", "text/plain", None))
                .is_ok_and(|answer| answer.status == 200)
        })?;
        Client::new(&server, certificate, token)
    }

    fn scheduler(&mut self, config: &Value, port: u16, kubeconfig: &Path, certificate: &Path) -> Result<()> {
        let mut config = config.clone();
        config["leaderElection"] = json!({"leaderElect": false});
        // As large clusters have it; by default, fifty pods a second are bound or refused.
        config["clientConnection"] = json!({"kubeconfig": kubeconfig, "qps": 1000, "burst": 1000});
        let path = self.folder.join("scheduler.json");
        fs::write(&path, config.to_string())?;
        // At 2 it says what it decides of each pod, for when a test waits for one in vain.
        self.serving("kube-scheduler", port, certificate, &[("config", &path.display()), ("v", &2)])
    }

    fn controller_manager(
        &mut self,
        port: u16,
        kubeconfig: &Path,
        certificate: &Path,
        silence: &str,
    ) -> Result<()> {
        let key = certificate.with_extension("key");
        let flags: [(&str, &dyn std::fmt::Display); 6] = [
            ("kubeconfig", &kubeconfig.display()),
            ("node-monitor-grace-period", &silence),
            // As large clusters have it; by default, pods come at twenty a second.
            ("kube-api-qps", &1000),
            ("kube-api-burst", &1000),
            ("leader-elect", &false),
            ("service-account-private-key-file", &key.display()),
        ];
        self.serving("kube-controller-manager", port, certificate, &flags)
    }

    /// Runs a component that answers at `port` with the API server's own certificate, which is for this address.
    fn serving(
        &mut self,
        name: &str,
        port: u16,
        certificate: &Path,
        flags: &[(&str, &dyn std::fmt::Display)],
    ) -> Result<()> {
        let key = certificate.with_extension("key");
        let serving: [(&str, &dyn std::fmt::Display); 4] = [
            ("bind-address", &"127.0.0.1"),
            ("secure-port", &port),
            ("tls-cert-file", &certificate.display()),
            ("tls-private-key-file", &key.display()),
        ];
        self.run(name, &[&serving[..], flags].concat())
    }
}

fn is_ready(certificate: &Path, port: u16, path: &str) -> bool {
    Client::new(&format!("https://127.0.0.1:{port}"), certificate, "")
        .and_then(|client| client.send("GET", path, "text/plain", None))
        .is_ok_and(|answer| answer.status == 200)
}

/// What names of our folders begin with; the number of our process follows.
const FOLDER: &str = "stowage-e2e-";

/// A new folder of our own among the temporary ones. Those of processes that were killed go.
pub(crate) fn folder() -> Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    for entry in fs::read_dir(env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix(FOLDER));
        let owner =
            rest.and_then(|rest| rest.split_once('-')).map(|(owner, _)| Path::new("/proc").join(owner));
        // Logs are kept for whoever asked for them, and say so by a file.
        if owner.is_some_and(|owner| Path::new("/proc/self").exists() && !owner.exists())
            && !entry.path().join(KEPT).exists()
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = env::temp_dir().join(format!("{FOLDER}{}-{count}", process::id()));
    // Left over from a process that had the same number.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

/// Ports of loopback that are free and differ. Another program may take one before it is used: then the component ends,
/// and says why.
///
/// # Errors
/// Where there are none.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let listeners = [(); N].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        let Ok(listener) = listener else { bail!("no port of loopback is free") };
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

fn token() -> Result<String> {
    let mut bytes = [0_u8; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

fn kubeconfig_of(server: &str, certificate: &Path, token: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "e2e",
        "clusters": [{"name": "e2e", "cluster": {"server": server, "certificate-authority": certificate}}],
        "users": [{"name": "e2e", "user": {"token": token}}],
        "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": "e2e"}}],
    })
}

/// The end of a log.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
