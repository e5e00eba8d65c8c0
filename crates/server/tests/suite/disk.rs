//! A full disk: the gate stays closed, and says so.

use std::{fs, process::Command};

use super::stage::Stage;

/// A small file system of its own for the store, where the machine lets us have one.
struct SmallDisk(String);

impl SmallDisk {
    fn at(path: &str) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs", path]).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(path.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l", &self.0]).status();
    }
}

#[tokio::test]
async fn inv01_a_full_disk_stops_the_gate_closed() {
    let mut stage = Stage::new();
    let data = stage.path("data");
    let keys = stage.path("keys-apart");
    fs::rename(format!("{data}/keys"), &keys).unwrap();
    let Some(disk) = SmallDisk::at(&data) else {
        println!(
            "no file system of our own can be mounted here: the store's own tests fill one by its page limit"
        );
        return;
    };
    fs::create_dir(format!("{data}/keys")).unwrap();
    for file in fs::read_dir(&keys).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), format!("{data}/keys/{}", file.file_name().to_str().unwrap())).unwrap();
    }
    stage.start();
    stage.until("the units run", || stage.starts("worker") == 1);
    // Somebody fills the disk to the last byte.
    let filler = Command::new("dd")
        .args(["if=/dev/zero", &format!("of={data}/filler"), "bs=4096"])
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(!filler.success(), "the disk is not full");

    let mut closed = false;
    for _ in 0..40 {
        let before = stage.starts("worker");
        let (status, answer) = stage.propose("worker").await;
        if status == 503 {
            assert_eq!(answer["rule"], "gate-closed", "{answer}");
            assert_eq!(stage.starts("worker"), before, "something ran without its record");
            closed = true;
            break;
        }
        // Room was left in the last page: whatever was answered was recorded, so let it end.
        if let Some(plan) = answer["id"].as_str() {
            stage.ended(plan).await;
        }
    }
    assert!(closed, "forty plans fitted on a full disk");
    fs::remove_file(format!("{data}/filler")).unwrap();
    stage.kill();
    stage.start();
    let (status, answer) = stage.propose("worker").await;
    assert!(status < 300 || status == 409, "with room again, the gate goes on: {status} {answer}");
    drop(stage);
    drop(disk);
}
