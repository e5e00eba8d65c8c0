//! A real nginx in front of the site.

use std::{
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

use super::scene::{PATIENCE, PAUSE};

/// A running nginx; it ends with this.
pub(super) struct Nginx(Child);

/// The program, by the variable that `cargo xtask test` knows, by the path, or where Debian has it.
pub(super) fn program() -> PathBuf {
    if let Some(named) = env::var_os("HOLDPOINT_NGINX") {
        return named.into();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let places = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = places.map(|dir| dir.join("nginx")).find(|file| file.exists());
    found.expect("nginx is not installed: `cargo xtask setup` installs it")
}

impl Nginx {
    /// Starts it over the folder's `servers.conf`.
    pub(super) fn start(dir: &Path) -> Self {
        // As root, workers change to another user, who could not enter the folder.
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        // The port was free a moment ago; somebody else may have it by now.
        for _ in 0..5 {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let conf = include_str!("files/nginx.conf")
                .replace("{{user}}", user)
                .replace("{{dir}}", dir.to_str().unwrap())
                .replace("{{nginx-port}}", &address.to_string());
            let path = dir.join("nginx.conf");
            fs::write(&path, conf).unwrap();
            let mut command = Command::new(program());
            command.arg("-c").arg(&path).arg("-p").arg(dir).arg("-e").arg(dir.join("nginx-error.log"));
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            let since = Instant::now();
            while child.try_wait().unwrap().is_none() {
                let pid = fs::read_to_string(dir.join("nginx.pid")).unwrap_or_default();
                if !pid.trim().is_empty() && std::net::TcpStream::connect(address).is_ok() {
                    return Self(child);
                }
                assert!(since.elapsed() < PATIENCE, "nginx does not answer");
                std::thread::sleep(PAUSE);
            }
        }
        panic!("nginx does not start: {}", fs::read_to_string(dir.join("nginx-error.log")).unwrap());
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let pid = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw);
        // Its workers end with the master only when it is asked.
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.0.wait();
    }
}
