//! Reaching libvirt, or not.

use super::*;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Mutex;
use std::time::Instant;

#[test]
fn the_test_driver_answers() {
    let w = live(Some("test:///default"));
    assert_eq!(Read::uri(&w).expect("uri"), "test:///default");
    assert!(!Read::hostname(&w).expect("hostname").is_empty());
    assert_eq!(Read::domstate(&w, "test").expect("state"), "running");
    assert_eq!(Read::list(&w).expect("list").len(), 1);
    assert!(Read::nodeinfo(&w).expect("node").memory_size > 0);
    let e = refused(Read::domstate(&w, "nobody"), Kind::NotFound);
    assert_eq!((e.subject.as_str(), e.code), ("nobody", Some(42)));
    assert_eq!(refused(Read::pool_info(&w, "nobody"), Kind::NotFound).code, Some(49));
    refused(w.define(&xml("..", "", "", ""), false), Kind::Invalid);
    refused(Read::domstate(&w, "a\0b"), Kind::Invalid);
    refused(Read::domifaddr(&w, "test", "rumour"), Kind::Invalid);
}

#[test]
fn nobody_there_is_unreachable() {
    for uri in ["qemu+unix:///system?socket=/nonexistent/libvirt-sock", "qemu+tcp://127.0.0.1:1/system", "nope:///x"] {
        let e = refused(Read::list(&live(Some(uri))), Kind::Unreachable);
        assert_eq!(e.subject, uri);
        assert!(e.hint.is_some() && e.exit_code() == 4, "{e}");
    }
}

/// A socket that takes the connection and never says a word.
#[test]
fn a_libvirtd_that_hangs_is_unreachable_in_time() {
    let dir = tempfile::tempdir().expect("dir");
    let socket = dir.path().join("sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("bind");
    let w = live(Some(&format!("qemu+unix:///system?socket={}", socket.display())));
    let cancel = w.cancel.clone();
    let stop = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        cancel.set();
    });
    let started = Instant::now();
    refused(Read::list(&w), Kind::Interrupted);
    assert!(started.elapsed() < Duration::from_secs(3));
    stop.join().expect("joined");
    if lab() {
        let started = Instant::now();
        refused(Read::list(&w), Kind::Unreachable);
        assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    }
}

#[test]
fn a_thousand_look_ups_are_cheap() {
    if !lab() {
        return;
    }
    let w = live(None);
    let n = name("live", "fast");
    let _sweep = Sweep(&w, vec![n.clone()]);
    w.define(&xml(&n, "", "", ""), false).expect("defined");
    // The best of some rounds: the machine has other things to do as well.
    let round = || {
        let started = Instant::now();
        for _ in 0..1000 {
            assert_eq!(Read::domstate(&w, &n).expect("state"), "shut off");
        }
        started.elapsed()
    };
    let took = (0..5).map(|_| round()).min().unwrap_or_default();
    eprintln!("1,000 look-ups: {took:?}");
    assert!(took < Duration::from_millis(500), "{took:?}");
}

/// A way to libvirtd that can be cut and clogged.
struct Wire {
    dir: tempfile::TempDir,
    ends: Arc<Mutex<Vec<UnixStream>>>,
    clogged: Cancel,
}

impl Wire {
    fn to_libvirtd() -> Option<Wire> {
        let uri = std::env::var("LIBVIRT_DEFAULT_URI").ok().filter(|_| lab())?;
        let upstream = uri.split_once("socket=")?.1.to_string();
        let dir = tempfile::tempdir().expect("dir");
        let listener = UnixListener::bind(dir.path().join("sock")).expect("bind");
        let (ends, clogged) = (Arc::new(Mutex::new(Vec::new())), Cancel::default());
        let wire = Wire { dir, ends: ends.clone(), clogged: clogged.clone() };
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let far = UnixStream::connect(&upstream).expect("libvirtd");
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (mut from, mut to) = (from.try_clone().expect("fd"), to.try_clone().expect("fd"));
                    let clogged = clogged.clone();
                    std::thread::spawn(move || {
                        let mut buffer = [0; 65536];
                        while let Ok(n @ 1..) = from.read(&mut buffer) {
                            if !clogged.is_set() && to.write_all(&buffer[..n]).is_err() {
                                break;
                            }
                        }
                    });
                }
                ends.lock().expect("lock").extend([near, far]);
            }
        });
        Some(wire)
    }

    fn uri(&self) -> String {
        format!("qemu+unix:///system?socket={}", self.dir.path().join("sock").display())
    }

    /// What a restart of libvirtd is to its clients.
    fn cut(&self) {
        for end in self.ends.lock().expect("lock").drain(..) {
            let _ = end.shutdown(std::net::Shutdown::Both);
        }
    }
}

#[test]
fn a_restarted_libvirtd_is_found_again() {
    let Some(wire) = Wire::to_libvirtd() else { return };
    let w = live(Some(&wire.uri()));
    let n = name("live", "cut");
    let _sweep = Sweep(&w, vec![n.clone()]);
    w.define(&xml(&n, "", "", ""), false).expect("defined");
    for pause in [0, 600] {
        wire.cut();
        std::thread::sleep(Duration::from_millis(pause));
        assert_eq!(Read::domstate(&w, &n).expect("asked again"), "shut off");
        wire.cut();
        std::thread::sleep(Duration::from_millis(pause));
        w.autostart(&n, pause == 0).expect("done over a new connection");
    }
}

#[test]
fn a_libvirtd_that_falls_silent_is_unreachable_in_time() {
    let Some(wire) = Wire::to_libvirtd() else { return };
    let w = live(Some(&wire.uri()));
    let v = live(Some(&wire.uri()));
    for w in [&w, &v] {
        Read::hostname(w).expect("answers");
    }
    wire.clogged.set();
    let act = std::thread::spawn(move || {
        let started = Instant::now();
        (v.start("zs-test-nobody"), started.elapsed())
    });
    let started = Instant::now();
    let asked = (Read::hostname(&w).map(|_| ()), started.elapsed());
    for (answer, took) in [asked, act.join().expect("joined")] {
        let e = refused(answer, Kind::Unreachable);
        assert!(took < Duration::from_secs(15), "{took:?}: {e}");
    }
}
