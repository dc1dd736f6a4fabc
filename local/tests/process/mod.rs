//! The binary `local` as a process.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};

/// The command, without arguments. Another AWS endpoint wants credentials, any will do.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_local"));
    command.env("AWS_ACCESS_KEY_ID", "local").env("AWS_SECRET_ACCESS_KEY", "local");
    command
}

/// Runs to the end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    command().args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Two ports that were free a moment ago.
pub(crate) fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// A stack that serves; killed when dropped.
pub(crate) struct Running {
    process: Child,
    /// Kept open, so that the process can say that it stops.
    output: BufReader<ChildStdout>,
    /// What it printed when it was ready.
    pub(crate) banner: String,
}

impl Running {
    /// Starts it and waits until it says that it serves.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut process = command().args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut banner = String::new();
        while !banner.contains("Ctrl-C stops.") && !banner.contains("Your directory is served.") {
            let read = output.read_line(&mut banner).unwrap();
            assert!(read > 0, "it ended: {:?}\n{banner}", process.wait());
        }
        Self { process, output, banner }
    }

    /// The API's base URL, as printed.
    pub(crate) fn base(&self) -> String {
        self.word_after("API ").unwrap()
    }

    /// The bearer token of the demonstration, as printed.
    pub(crate) fn token(&self) -> Option<String> {
        self.word_after("export TOKEN=")
    }

    /// The address of the emulated AWS, as printed.
    pub(crate) fn aws(&self) -> String {
        self.word_after("aws --endpoint-url ").unwrap()
    }

    fn word_after(&self, what: &str) -> Option<String> {
        Some(self.banner.split_once(what)?.1.split_whitespace().next()?.to_owned())
    }

    /// `SIGKILL`.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Another signal, by its name; how the process ended, and what it said meanwhile.
    pub(crate) fn signal(mut self, name: &str) -> (ExitStatus, String) {
        let sent = Command::new("kill").args(["-s", name, &self.process.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let mut said = String::new();
        while self.output.read_line(&mut said).unwrap() > 0 {}
        (self.process.wait().unwrap(), said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
