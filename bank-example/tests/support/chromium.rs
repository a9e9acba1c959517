//! A real browser without a window: Chromium, led by its driver, and a bank on a socket for it to look at.
#![allow(dead_code, unreachable_pub, reason = "not every test uses all of it")]

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bank_example::system::EventSourcedBank;
use bank_example::{stores, web};
use eventsourcing::{OnFailure, Runner, RunningSystem};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The time that a page may take.
const TIMEOUT: Duration = Duration::from_secs(15);

const MISSING: &str = "Chromium's driver does not start; the tests in a browser need it and Chromium itself: \
                       apt-get install --no-install-recommends chromium chromium-driver";

/// Chromium's driver. It ends with the test, and Chromium with it.
pub struct Driver {
    process: Child,
    port: u16,
}

impl Driver {
    pub fn start() -> Self {
        let command = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut process = command.unwrap_or_else(|error| panic!("{MISSING}\n{error}"));
        let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let port = loop {
            let line = lines
                .next()
                .unwrap_or_else(|| panic!("{MISSING}"))
                .expect("text");
            if let Some((_, port)) = line.split_once("successfully on port ") {
                break port.trim_end_matches('.').parse().expect("a port");
            }
        };
        // The driver's other output must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, port }
    }

    /// Opens a browser with these arguments beside the usual ones, and these other options.
    pub async fn open(&self, arguments: &[&str], options: Value) -> Client {
        let usual = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
        ];
        let size = "--window-size=1200,1500";
        let mut all: Vec<&str> = usual.iter().copied().chain([size]).collect();
        all.extend(arguments);
        let mut chromium = json!({ "args": all });
        let map = chromium.as_object_mut().expect("an object");
        map.extend(options.as_object().cloned().unwrap_or_default());
        let capabilities = json!({ "browserName": "chrome", "goog:chromeOptions": chromium });
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities.as_object().expect("an object").clone());
        let address = format!("http://127.0.0.1:{}", self.port);
        builder
            .connect(&address)
            .await
            .unwrap_or_else(|error| panic!("{MISSING}\n{error}"))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A bank that is served as `bank-example serve` does.
pub struct Served {
    pub address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), web::ServeError>>,
}

impl Served {
    pub async fn start(url: &str) -> Self {
        Self::of(bank(url).await).await
    }

    pub async fn of(bank: RunningSystem<EventSourcedBank>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            let until = async { drop(stopped.await) };
            web::serve(bank, listener, &web::Settings::loopback(), until).await
        });
        Self {
            address,
            stop,
            server,
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Ends the bank, which must succeed soon.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        let ended = tokio::time::timeout(TIMEOUT, self.server)
            .await
            .expect("it ends, also while pages are open");
        ended.expect("no panic").expect("a graceful end");
    }
}

/// Starts the bank as another process would.
pub async fn bank(url: &str) -> RunningSystem<EventSourcedBank> {
    bank_that(OnFailure::Park, url).await
}

/// Starts the bank with this reaction to events that its followers fail to process.
pub async fn bank_that(on_failure: OnFailure, url: &str) -> RunningSystem<EventSourcedBank> {
    let builder = EventSourcedBank::builder(stores::open(url).await.expect("a store"))
        .with_runner(Runner::concurrent());
    builder
        .with_on_failure_default(on_failure)
        .start()
        .await
        .expect("the bank starts")
}

pub async fn text(client: &Client, css: &str) -> String {
    let element = client
        .wait()
        .at_most(TIMEOUT)
        .for_element(Locator::Css(css))
        .await;
    element
        .unwrap_or_else(|error| panic!("no {css}: {error}"))
        .text()
        .await
        .expect("a text")
}

/// Waits until the text of an element is this one, and returns how long it took.
pub async fn until_text(client: &Client, css: &str, wanted: &str) -> Duration {
    let begin = Instant::now();
    loop {
        // The element may be replaced at this very moment.
        let element = client.find(Locator::Css(css)).await;
        let shown = match element {
            Ok(element) => element.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        };
        if shown.contains(wanted) {
            return begin.elapsed();
        }
        assert!(
            begin.elapsed() < TIMEOUT,
            "{css} says {shown:?}, not {wanted:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Fills in the fields of a form and sends it.
pub async fn submit(client: &Client, form: &str, fields: &[(&str, &str)]) {
    for (name, value) in fields {
        let css = format!("#{form}-{name}");
        // The page may not be complete yet.
        let field = client
            .wait()
            .at_most(TIMEOUT)
            .for_element(Locator::Css(&css))
            .await;
        let field = field.unwrap_or_else(|error| panic!("no {css}: {error}"));
        field.clear().await.expect("it can be emptied");
        field.send_keys(value).await.expect("it can be typed into");
    }
    press(client, &format!("#{form} button")).await;
}

/// Presses a button that leads to another page, and waits for that page, so that what follows does not search the old
/// one.
pub async fn press(client: &Client, css: &str) {
    let begin = Instant::now();
    let page = client.find(Locator::Css("html")).await.expect("a page");

    let is_late = || begin.elapsed() > TIMEOUT;
    // The button may be replaced at this very moment.
    while !is_pressed(client, css).await {
        assert!(!is_late(), "{css} cannot be pressed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    while page.tag_name().await.is_ok() {
        assert!(!is_late(), "{css} leads nowhere");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn is_pressed(client: &Client, css: &str) -> bool {
    match client.find(Locator::Css(css)).await {
        Ok(button) => button.click().await.is_ok(),
        Err(_) => false,
    }
}

/// Saves a screenshot for people.
pub async fn screenshot(client: &Client, name: &str) -> Vec<u8> {
    let png = client.screenshot().await.expect("a picture");
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join(format!("{name}.png")), &png).expect("a file");
    png
}
