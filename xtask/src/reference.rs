//! Apache RocketMQ as the reference to compare with: fetch it, start it, stop it, prepare its topics.
//!
//! One name server, one broker and one proxy in cluster mode run as background processes on high loopback ports,
//! with small heaps. Jars come from Maven Central; everything else lives under `target/reference/`:
//!
//! ```text
//! maven/          what to fetch          conf/   broker.conf, rmq-proxy.json, namesrv.properties, lists of topics
//! lib/*.jar       what was fetched       home/   Apache's own log files, one folder a process
//! store/          the broker's data      run/    <process>.pid and <process>.log (its standard output)
//! ```
//!
//! It is for comparison only: every [`up`] begins with an empty store, nothing here is tuned for speed, and nothing
//! listens beyond loopback. Not for Gantry itself, which `gantry local` starts.
//!
//! Source of the flags and settings: measured with 5.5.0 on Java 17; the reason stands beside each that needs one.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::remoting;

/// The Apache release that results are compared with.
pub(crate) const VERSION: &str = "5.5.0";
/// Where the proxy speaks the RocketMQ 5 gRPC protocol, TLS and plaintext on the same port.
pub(crate) const GRPC_ENDPOINT: &str = "127.0.0.1:28081";
/// Where the proxy speaks Remoting to 4.x clients.
pub(crate) const REMOTING_ENDPOINT: &str = "127.0.0.1:28080";
/// The name server, for 4.x clients and for `mqadmin`.
pub(crate) const NAMESRV_ENDPOINT: &str = "127.0.0.1:29876";

/// The folder of its jars, and the parts that they are of.
const LIB: &str = "lib";
const PARTS: [&str; 4] = ["namesrv", "broker", "proxy", "tools"];

const CLUSTER: &str = "DefaultCluster";
const BROKER: &str = "reference-a";
const BROKER_ENDPOINT: &str = "127.0.0.1:20911";

/// Longest wait for one process to be ready; about 28 s is usual for all three on two idle cores.
const READY_WITHIN: Duration = Duration::from_secs(180);
/// Longest wait for all processes to end by themselves; 20 to 40 s is usual.
const STOPPED_WITHIN: Duration = Duration::from_secs(60);
const POLL_EVERY: Duration = Duration::from_millis(500);

/// The official SDKs that `sdk-examples` has a program for; the second part of each topic's name.
pub(crate) const SDKS: [&str; 5] = ["python", "go", "node", "java", "rust"];

/// Feature of an example program (the last part of its topic's name) and the message type its topic must accept.
pub(crate) const FEATURES: [(&str, &str); 7] = [
    ("normal", "NORMAL"),
    ("fifo", "FIFO"),
    ("delay", "DELAY"),
    ("transaction", "TRANSACTION"),
    ("push", "NORMAL"),
    ("recall", "DELAY"),
    ("filter", "NORMAL"),
];

/// In the order they start; they stop in the reverse order, so that each can still say goodbye to the one before.
const PROCESSES: [Process; 3] = [Process::NameServer, Process::Broker, Process::Proxy];

#[derive(Clone, Copy, PartialEq)]
enum Process {
    NameServer,
    Broker,
    Proxy,
}

impl Process {
    fn name(self) -> &'static str {
        match self {
            Self::NameServer => "namesrv",
            Self::Broker => "broker",
            Self::Proxy => "proxy",
        }
    }

    fn main_class(self) -> &'static str {
        match self {
            Self::NameServer => "org.apache.rocketmq.namesrv.NamesrvStartup",
            Self::Broker => "org.apache.rocketmq.broker.BrokerStartup",
            Self::Proxy => "org.apache.rocketmq.proxy.ProxyStartup",
        }
    }

    fn heap(self) -> &'static [&'static str] {
        match self {
            Self::NameServer => &["-Xms64m", "-Xmx256m"],
            Self::Broker => &["-Xms256m", "-Xmx1g", "-XX:MaxDirectMemorySize=1g"],
            Self::Proxy => &["-Xms256m", "-Xmx1g", "-XX:MaxDirectMemorySize=1g"],
        }
    }

    fn arguments(self, folder: &Folder) -> Vec<String> {
        let file = |name: &str| folder.path("conf").join(name).display().to_string();
        match self {
            Self::NameServer => vec!["-c".into(), file("namesrv.properties")],
            Self::Broker => vec!["-n".into(), NAMESRV_ENDPOINT.into(), "-c".into(), file("broker.conf")],
            Self::Proxy => vec![
                "-n".into(),
                NAMESRV_ENDPOINT.into(),
                "-pm".into(),
                "cluster".into(),
                "-pc".into(),
                file("rmq-proxy.json"),
            ],
        }
    }

    /// Whether it does its work, which is later than when its port opens.
    fn is_ready(self, folder: &Folder) -> bool {
        match self {
            Self::NameServer => is_broker_registered().is_ok(),
            Self::Broker => is_broker_registered().unwrap_or(false),
            // The proxy has no request that says so, but prints this line after its last service has started.
            Self::Proxy => fs::read_to_string(folder.log(self))
                .is_ok_and(|log| log.contains("rocketmq-proxy startup successfully")),
        }
    }
}

/// Fetches the jars if they are missing, starts what is not running and waits until all of it is ready.
///
/// Progress goes to standard error. The broker begins with an empty store, so [`create_topics`] must follow. If a
/// process fails to start, the others stay up for a look at their logs; [`down`] ends them.
///
/// # Errors
/// `java` or `mvn` is missing, Maven cannot fetch, a process ends or is not ready within three minutes.
pub(crate) fn up() -> Result<()> {
    let folder = Folder::find()?;
    folder.fetch_jars(LIB, VERSION, &PARTS)?;
    folder.write_configuration()?;
    for process in PROCESSES {
        if let Some(pid) = folder.running(process) {
            eprintln!("reference: {} is running already (pid {pid})", process.name());
            continue;
        }
        if process == Process::Broker {
            folder.clear("store")?;
        }
        let child = folder.start(process)?;
        folder.await_ready(process, child)?;
    }
    eprintln!("reference: ready; gRPC {GRPC_ENDPOINT}, Remoting {REMOTING_ENDPOINT}, name server {NAMESRV_ENDPOINT}");
    Ok(())
}

/// Apache's jars, fetched if they are missing.
///
/// # Errors
/// As [`up`].
pub(crate) fn jars() -> Result<PathBuf> {
    let folder = Folder::find()?;
    folder.fetch_jars(LIB, VERSION, &PARTS)?;
    Ok(folder.path(LIB))
}

/// A `java` command that may run Apache's broker, with its log files below `home`; the caller adds the main class.
///
/// # Errors
/// The checkout cannot be found.
pub(crate) fn java(home: &str, classes: &[&Path]) -> Result<Command> {
    let folder = Folder::find()?;
    folder.java(home, Process::Broker.heap(), classes, &folder.path(LIB))
}

/// The same with nothing but the Remoting client of another release, fetched if it is missing.
///
/// # Errors
/// As [`up`].
pub(crate) fn java_with_client(version: &str, home: &str, classes: &[&Path]) -> Result<Command> {
    java_with("client", version, home, classes)
}

/// The same with nothing but one part of a release, and what it needs, fetched if it is missing.
///
/// # Errors
/// As [`up`].
pub(crate) fn java_with(part: &str, version: &str, home: &str, classes: &[&Path]) -> Result<Command> {
    let lib = jars_of(part, version)?;
    Folder::find()?.java(home, &["-Xmx256m"], classes, &lib)
}

/// The jars of one part of a release, and of what it needs, fetched if they are missing.
///
/// # Errors
/// As [`up`].
pub(crate) fn jars_of(part: &str, version: &str) -> Result<PathBuf> {
    let (folder, lib) = (Folder::find()?, format!("lib-{part}-{version}"));
    folder.fetch_jars(&lib, version, &[part])?;
    Ok(folder.path(&lib))
}

/// Stops whatever of it runs: politely first, by force after a minute. Nothing running is no error.
///
/// # Errors
/// A process cannot be signalled or survives even SIGKILL.
pub(crate) fn down() -> Result<()> {
    let folder = Folder::find()?;
    for process in PROCESSES.into_iter().rev() {
        if let Some(pid) = folder.running(process) {
            eprintln!("reference: stopping {} (pid {pid})", process.name());
            signal(pid, "TERM")?;
        }
    }
    let began = Instant::now();
    while began.elapsed() < STOPPED_WITHIN && PROCESSES.iter().any(|process| folder.running(*process).is_some()) {
        sleep(POLL_EVERY);
    }
    for process in PROCESSES {
        if let Some(pid) = folder.running(process) {
            eprintln!("reference: {} (pid {pid}) did not stop in {STOPPED_WITHIN:?}, killing it", process.name());
            signal(pid, "KILL")?;
            sleep(POLL_EVERY);
            ensure!(folder.running(process).is_none(), "{} (pid {pid}) survived SIGKILL", process.name());
        }
        remove_file(&folder.pid_file(process))?;
    }
    eprintln!("reference: stopped");
    Ok(())
}

/// Creates what the example programs use under `prefix`: for each SDK and feature the topic
/// `<prefix>-<sdk>-<feature>` with its message type and the group `<topic>-group` (ordered for FIFO), and for SQL
/// filters a second group, `<prefix>-<sdk>-filter-sql-group`. Creating them again changes nothing.
///
/// Two runs of `mqadmin` with lists, because each run costs a JVM's start.
///
/// # Errors
/// The reference is not up, or `mqadmin` does not report success.
pub(crate) fn create_topics(prefix: &str) -> Result<()> {
    let folder = Folder::find()?;
    ensure!(Process::Broker.is_ready(&folder), "the reference is not up: no broker {BROKER} at {NAMESRV_ENDPOINT}");
    let mut topics = Vec::new();
    let mut groups = Vec::new();
    for sdk in SDKS {
        for (feature, message_type) in FEATURES {
            let topic = format!("{prefix}-{sdk}-{feature}");
            groups.push(group(&format!("{topic}-group"), message_type == "FIFO"));
            if feature == "filter" {
                groups.push(group(&format!("{topic}-sql-group"), false));
            }
            topics.push(json!({
                "topicName": topic,
                "readQueueNums": 4,
                "writeQueueNums": 4,
                "perm": 6,
                "attributes": { "+message.type": message_type },
            }));
        }
    }
    folder.mqadmin_list("updateTopicList", "topics.json", &topics)?;
    folder.mqadmin_list("updateSubGroupList", "groups.json", &groups)?;
    eprintln!("reference: {} topics and {} groups with prefix {prefix}", topics.len(), groups.len());
    Ok(())
}

fn group(name: &str, is_ordered: bool) -> Value {
    json!({ "groupName": name, "consumeMessageOrderly": is_ordered })
}

/// Prints one line a process: its name, pid, and whether it is ready. An error if any is not.
///
/// # Errors
/// A process is missing or not ready, so that scripts can use the exit code.
pub(crate) fn status() -> Result<()> {
    let folder = Folder::find()?;
    let mut ready_count = 0;
    for process in PROCESSES {
        match folder.running(process) {
            None => println!("{:8} stopped", process.name()),
            Some(pid) if process.is_ready(&folder) => {
                println!("{:8} ready (pid {pid})", process.name());
                ready_count += 1;
            }
            Some(pid) => println!("{:8} starting (pid {pid}, log {})", process.name(), folder.log(process).display()),
        }
    }
    ensure!(ready_count == PROCESSES.len(), "{ready_count} of {} processes are ready", PROCESSES.len());
    Ok(())
}

/// `target/reference` of the checkout.
struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The checkout is the nearest folder upwards that has both a `Cargo.toml` and `sdk-examples`.
    fn find() -> Result<Self> {
        let here = std::env::current_dir().context("the current folder is unreadable")?;
        let checkout = here
            .ancestors()
            .find(|folder| folder.join("Cargo.toml").is_file() && folder.join("sdk-examples").is_dir())
            .with_context(|| format!("{} is not inside a Gantry checkout", here.display()))?;
        Ok(Self { root: checkout.join("target/reference") })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn pid_file(&self, process: Process) -> PathBuf {
        self.path("run").join(format!("{}.pid", process.name()))
    }

    fn log(&self, process: Process) -> PathBuf {
        self.path("run").join(format!("{}.log", process.name()))
    }

    fn clear(&self, name: &str) -> Result<()> {
        let folder = self.path(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        create_folder(&folder)
    }

    /// About 91 MiB for the servers the first time; later one file's existence. The mark is written last, so a fetch that was
    /// interrupted is done again.
    fn fetch_jars(&self, lib: &str, version: &str, parts: &[&str]) -> Result<()> {
        let mark = self.path(lib).join(format!("complete-{version}"));
        if mark.is_file() {
            return Ok(());
        }
        eprintln!("reference: fetching Apache RocketMQ {version} with Maven: {}", parts.join(", "));
        self.clear(lib)?;
        let pom = self.path("maven").join(lib).join("pom.xml");
        write(&pom, &pom_text(version, parts))?;
        let status = Command::new("mvn")
            .args(["--batch-mode", "--quiet", "--file"])
            .arg(&pom)
            .arg("dependency:copy-dependencies")
            .arg(format!("-DoutputDirectory={}", self.path(lib).display()))
            .status()
            .context("cannot run mvn; on Debian: apt-get install maven openjdk-17-jdk-headless")?;
        ensure!(status.success(), "Maven did not fetch the jars ({status}); its pom is {}", pom.display());
        write(&mark, "")
    }

    fn write_configuration(&self) -> Result<()> {
        let conf = self.path("conf");
        write(&conf.join("namesrv.properties"), &format!("listenPort={}\n", port(NAMESRV_ENDPOINT)?))?;
        write(&conf.join("broker.conf"), &broker_conf(&self.path("store"))?)?;
        let proxy = json!({
            "rocketMQClusterName": CLUSTER,
            "proxyMode": "CLUSTER",
            "localServeAddr": "127.0.0.1",
            "namesrvAddr": NAMESRV_ENDPOINT,
            "grpcServerPort": port(GRPC_ENDPOINT)?,
            "remotingListenPort": port(REMOTING_ENDPOINT)?,
        });
        write(&conf.join("rmq-proxy.json"), &format!("{proxy:#}\n"))
    }

    /// A `java` command with the jars of `lib` on its class path, behind `classes`; the caller adds the main class and its
    /// arguments.
    fn java(&self, home: &str, heap: &[&str], classes: &[&Path], lib: &Path) -> Result<Command> {
        let home = self.path("home").join(home);
        create_folder(&home)?;
        let mut java = Command::new("java");
        java.args(heap);
        // Java 17 hides what 5.5.0 reaches for by reflection: direct buffers, selectors, collections.
        for package in ["java.lang", "java.nio", "sun.nio.ch", "java.util"] {
            java.arg(format!("--add-opens=java.base/{package}=ALL-UNNAMED"));
        }
        java.arg("--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED")
            .arg(format!("-Drocketmq.home.dir={}", home.display()))
            // Apache's logback files write under the user's home.
            .arg(format!("-Duser.home={}", home.display()))
            .arg("-cp")
            .arg(std::env::join_paths(classes.iter().map(|path| path.to_path_buf()).chain([lib.join("*")]))?)
            .env("ROCKETMQ_HOME", &home)
            .current_dir(&home);
        Ok(java)
    }

    fn start(&self, process: Process) -> Result<Child> {
        create_folder(&self.path("run"))?;
        let path = self.log(process);
        let log = fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let errors = log.try_clone().context("cannot share the log file")?;
        let child = self
            .java(process.name(), process.heap(), &[], &self.path(LIB))?
            .arg(process.main_class())
            .args(process.arguments(self))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            // A group of its own, so that Ctrl-C in the terminal that ran `up` does not end it.
            .process_group(0)
            .spawn()
            .context("cannot run java; on Debian: apt-get install openjdk-17-jdk-headless")?;
        write(&self.pid_file(process), &child.id().to_string())?;
        Ok(child)
    }

    /// Returns once the process works. It is asked of the child whether it has ended, not of `/proc`, which shows an
    /// empty command line for an instant after the start.
    fn await_ready(&self, process: Process, mut child: Child) -> Result<()> {
        let began = Instant::now();
        eprint!("reference: starting {} ", process.name());
        while !process.is_ready(self) {
            let log = self.log(process);
            if let Some(status) = child.try_wait().context("cannot ask for the child's state")? {
                bail!("{} ended while starting ({status}); its log is {}", process.name(), log.display());
            }
            if began.elapsed() > READY_WITHIN {
                bail!("{} is not ready after {READY_WITHIN:?}; its log is {}", process.name(), log.display());
            }
            eprint!(".");
            sleep(POLL_EVERY);
        }
        eprintln!(" ready after {:.1} s", began.elapsed().as_secs_f32());
        Ok(())
    }

    /// The pid if the process lives. A pid file may be older than the machine's last start, so the command line of
    /// that pid must still name our main class; a zombie has none.
    fn running(&self, process: Process) -> Option<u32> {
        let pid = fs::read_to_string(self.pid_file(process)).ok()?.trim().parse().ok()?;
        let command_line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        String::from_utf8_lossy(&command_line).contains(process.main_class()).then_some(pid)
    }

    /// Runs an `mqadmin` command that takes a JSON list. Its exit code is 0 even when it fails, so its words decide.
    fn mqadmin_list(&self, command: &str, file: &str, list: &[Value]) -> Result<()> {
        let path = self.path("conf").join(file);
        write(&path, &serde_json::to_string_pretty(list)?)?;
        let output = self
            .java("mqadmin", &["-Xmx256m", "-XX:TieredStopAtLevel=1"], &[], &self.path(LIB))?
            .arg("org.apache.rocketmq.tools.command.MQAdminStartup")
            .args([command, "-n", NAMESRV_ENDPOINT, "-c", CLUSTER, "-f"])
            .arg(&path)
            .output()
            .context("cannot run java")?;
        let words = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(words.contains("success"), "mqadmin {command} did not succeed: {words}{errors}");
        Ok(())
    }
}

fn pom_text(version: &str, parts: &[&str]) -> String {
    let dependencies: String = parts
        .iter()
        .map(|part| {
            format!(
                "    <dependency><groupId>org.apache.rocketmq</groupId><artifactId>rocketmq-{part}</artifactId>\
                 <version>{version}</version></dependency>\n"
            )
        })
        .collect();
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n  <modelVersion>4.0.0</modelVersion>\n  \
         <groupId>gantry</groupId>\n  <artifactId>reference</artifactId>\n  <version>{version}</version>\n  \
         <dependencies>\n{dependencies}  </dependencies>\n</project>\n"
    )
}

fn broker_conf(store: &Path) -> Result<String> {
    let listen_port = port(BROKER_ENDPOINT)?;
    let ha_listen_port = listen_port + 1;
    let store = store.display();
    Ok(format!(
        "brokerClusterName={CLUSTER}\nbrokerName={BROKER}\nbrokerId=0\nbrokerIP1=127.0.0.1\nbrokerIP2=127.0.0.1\n\
         listenPort={listen_port}\nhaListenPort={ha_listen_port}\nstorePathRootDir={store}\n\
         storePathCommitLog={store}/commitlog\nflushDiskType=ASYNC_FLUSH\n\
         # A comparison must not pass because the broker made up a topic of the wrong type.\n\
         autoCreateTopicEnable=false\nautoCreateSubscriptionGroup=true\n\
         # Off by default: recalls fail with 50001, and SQL filters of 4.x clients are refused.\n\
         recallMessageEnable=true\nenablePropertyFilter=true\n\
         # The default of 30 s would only make the check-back wait longer.\ntransactionCheckInterval=5000\n\
         # The default of 200 ms refuses sends while the machine is busy with something else.\n\
         waitTimeMillsInSendQueue=3000\n\
         # Small files, and no refusal of writes on a disk that others have filled.\n\
         mappedFileSizeCommitLog=268435456\ndiskMaxUsedSpaceRatio=95\n"
    ))
}

/// Whether the name server knows the broker; an error if the name server does not answer.
fn is_broker_registered() -> Result<bool> {
    Ok(remoting::brokers(NAMESRV_ENDPOINT.parse()?)?.broker_addr_table.contains_key(BROKER))
}

fn port(endpoint: &str) -> Result<u16> {
    let (_, port) = endpoint.rsplit_once(':').with_context(|| format!("{endpoint} has no port"))?;
    port.parse().with_context(|| format!("{endpoint} has no numeric port"))
}

fn signal(pid: u32, name: &str) -> Result<()> {
    let status = Command::new("kill").args(["-s", name, &pid.to_string()]).status().context("cannot run kill")?;
    // A process that ended between our look and the signal is what we wanted.
    ensure!(status.success() || !Path::new(&format!("/proc/{pid}")).exists(), "cannot send SIG{name} to pid {pid}");
    Ok(())
}

fn create_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}

fn write(file: &Path, text: &str) -> Result<()> {
    if let Some(folder) = file.parent() {
        create_folder(folder)?;
    }
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn remove_file(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", file.display()))
        }
        _ => Ok(()),
    }
}
