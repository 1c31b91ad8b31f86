//! The one way by which anything outside changes: rights → ask → plan → intent → perform → outcome.

pub(crate) mod ask;
mod back;
mod frames;
mod session;
#[cfg(test)]
pub(in crate::host) mod tests;
mod write;

pub use back::{TakenBack, is_off_before, take_back};
pub use frames::{current_frame, in_frame};

use super::events::Events;
use super::fault::Faults;
use super::journal::{Journal, Line, Open, Rotation};
use super::op::Op;
use super::rights::Rights;
use super::undo::Undo;
use crate::bindings::World;
use crate::bindings::guestfs::api::GuestId;
use crate::bindings::rbd::api::Image;
use crate::bindings::spec::{Cancel, ImageSpec, Progress};
use crate::error::{Error, Kind, Result};
use frames::Frame;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the effect of an operation may ask for while it is going on.
pub struct Step<'a> {
    pub progress: Progress,
    learned: &'a dyn Fn(Undo) -> Result<()>,
}

impl Step<'_> {
    /// The same step, whose undo goes through `learned` first.
    pub fn through<'b>(&self, learned: &'b dyn Fn(Undo) -> Result<()>) -> Step<'b> {
        Step { progress: self.progress.clone(), learned }
    }

    /// Writes down a better undo before going on: from here a crash finds it.
    pub fn learned(&self, undo: Undo) -> Result<()> {
        (self.learned)(undo)
    }

    /// Does what has an undo that would harm where it was not done: starting a domain that somebody else has stopped.
    /// The undo holds from the moment before until the backend refuses.
    pub fn effect<T>(&self, undo: Undo, perform: impl FnOnce() -> Result<T>) -> Result<T> {
        self.learned(undo)?;
        let result = perform();
        if result.as_ref().is_err_and(|e| e.kind.is_refusal()) {
            let _ = self.learned(Undo::Nothing);
        }
        result
    }
}

/// How the run meets its journal.
#[derive(Clone)]
pub struct Setup {
    pub state: PathBuf,
    pub script: String,
    pub argv: Vec<String>,
    pub ceph_conf: Option<PathBuf>,
    pub ceph_id: String,
    /// The run that this one takes back.
    pub undoes: Option<String>,
    pub rotation: Rotation,
}

/// A guest that this run has open for writing.
struct OpenGuest {
    /// That goes on with it.
    frame: u64,
    id: GuestId,
    image: ImageSpec,
    /// Why it could not be closed when the script forgot it.
    lost: Option<Error>,
}

pub struct Gate {
    world: Arc<dyn World>,
    pub run: String,
    setup: Setup,
    journal: Mutex<Option<Journal>>,
    frames: Mutex<HashMap<u64, Frame>>,
    guests: Mutex<Vec<OpenGuest>>,
    /// Images that this run has made and could still take back, by their ids, each with the frame that would: what
    /// happens inside them goes with them.
    made: Mutex<HashMap<String, u64>>,
    /// What was there before the changes of a plan.
    kept: Mutex<HashMap<String, Vec<u8>>>,
    seq: AtomicU64,
    /// Of names that only this run has.
    names: AtomicU64,
    rights: Rights,
    faults: Faults,
    yes: bool,
    pub events: Arc<Events>,
    pub cancel: Cancel,
    left: Mutex<Vec<(String, String)>>,
    /// People are asked one thing at a time.
    question: Mutex<()>,
    /// Whether the journal says which cluster and which hypervisor this run acts on.
    named: Mutex<[bool; 2]>,
    started: Instant,
}

impl Gate {
    pub fn new(
        world: Arc<dyn World>,
        setup: Setup,
        rights: Rights,
        yes: bool,
        events: Arc<Events>,
        cancel: Cancel,
    ) -> Result<Gate> {
        Ok(Gate {
            world,
            run: uuid::Uuid::new_v4().simple().to_string()[..8].to_string(),
            setup,
            journal: Mutex::new(None),
            frames: Mutex::new(HashMap::new()),
            guests: Mutex::default(),
            made: Mutex::default(),
            kept: Mutex::default(),
            seq: AtomicU64::new(0),
            names: AtomicU64::new(0),
            rights,
            faults: Faults::from_env()?,
            yes,
            events,
            cancel,
            left: Mutex::new(Vec::new()),
            question: Mutex::default(),
            named: Mutex::default(),
            started: Instant::now(),
        })
    }

    /// The world, for questions.
    pub fn world(&self) -> &dyn World {
        &*self.world
    }

    /// True when this run changes a model only.
    pub fn planning(&self) -> bool {
        !self.world.is_live()
    }

    /// How many operations this run has begun.
    pub fn operations(&self) -> u64 {
        self.seq.load(Ordering::SeqCst)
    }

    /// The run's id with a number that no other name of this run has: for things that must be nobody else's.
    pub fn unique(&self) -> String {
        format!("{}-{}", self.run, self.names.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// The path of a directory that no other run has.
    pub fn temp_dir(&self) -> String {
        let base = std::env::var_os("TMPDIR").map_or_else(|| "/var/tmp".into(), PathBuf::from);
        base.join(format!("zs-{}", self.unique())).display().to_string()
    }

    pub fn is_temp_dir(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or_default();
        path.starts_with('/') && name.starts_with(&format!("zs-{}-", self.run))
    }

    /// What was made and could not be taken away again: words and the command for it.
    pub fn left(&self) -> Vec<(String, String)> {
        lock(&self.left).clone()
    }

    /// May this run read host files, start processes, use the network? No journal: nothing of the site changes.
    pub fn may(&self, right: &str, subject: &str) -> Result<()> {
        self.rights.check_lists(right, subject)
    }

    /// The same of what zs.toml itself names: it may be read unless that is denied.
    pub fn may_of_site(&self, right: &str, subject: &str) -> Result<()> {
        self.rights.check_deny(right, subject)
    }

    pub fn rights(&self) -> &Rights {
        &self.rights
    }

    /// Notes that this frame has a guest open: its image cannot be removed before that is closed.
    pub fn opened(&self, guest: GuestId, image: &ImageSpec) {
        lock(&self.guests).push(OpenGuest { frame: current_frame(), id: guest, image: image.clone(), lost: None });
    }

    pub fn closed(&self, guest: GuestId) {
        lock(&self.guests).retain(|g| g.id != guest);
    }

    /// Notes that what was written to a guest may not be on its disk, and that no script was told: the transaction that
    /// it belongs to must not be taken for done.
    pub fn lost(&self, guest: GuestId, why: &Error) {
        let mut guests = lock(&self.guests);
        guests.iter_mut().filter(|g| g.id == guest).for_each(|g| g.lost = Some(why.clone()));
    }

    /// Closes the guests that `which` says yes to; gives the first error.
    fn close_guests(&self, which: impl Fn(&OpenGuest) -> bool) -> Result<()> {
        let closing: Vec<_> = lock(&self.guests).extract_if(.., |g| which(g)).collect();
        let mut first = Ok(());
        for g in closing {
            let closed = Cancel::shielded(|| g.lost.map_or_else(|| self.world.guestfs().close(g.id), Err));
            first = first.and(closed.map_err(|e| e.op("guestfs.close").subject(&g.image)));
        }
        first
    }

    /// `Undo::Within` when the transaction that is going on has made the image. One of an outer transaction stays when
    /// this one is taken back; and the name alone may be somebody else's by now.
    pub fn within(&self, image: &ImageSpec) -> Option<Undo> {
        if lock(&self.made).is_empty() {
            return None;
        }
        self.within_id(image, &self.world.rbd().id(image).ok()?)
    }

    pub fn within_id(&self, image: &ImageSpec, id: &str) -> Option<Undo> {
        (lock(&self.made).get(id) == Some(&current_frame())).then(|| Undo::Within { image: image.clone() })
    }

    /// Notes that the transaction that is going on puts an image back when it fails: what is done in it goes with that.
    pub fn goes_back(&self, image_id: &str) {
        lock(&self.made).entry(image_id.into()).or_insert_with(current_frame);
    }

    /// Does one operation. `before` is the undo that holds from the intent on; `perform` gives the final one.
    pub fn change<T>(
        &self,
        op: Op,
        before: Undo,
        perform: impl FnOnce(&dyn World, &Step) -> Result<(T, Undo)>,
    ) -> Result<T> {
        let named = |e: Error| e.op(&op.op).subject(&op.subject);
        self.cancel.check().map_err(named)?;
        self.rights.check(&op.op, &op.subject)?;
        self.ask(&op, &before)?;
        let seq = self.seq.fetch_add(1, Ordering::SeqCst) + 1;
        let progress = self.events.progress(&op, self.cancel.clone());
        if self.planning() {
            self.events.plan(&op);
            // A model does all of an operation or nothing.
            let step = Step { progress, learned: &|_| Ok(()) };
            let (value, undo) = perform(&*self.world, &step).map_err(named)?;
            self.remember(seq, op, undo);
            return Ok(value);
        }
        let cheap = before.is_cheap();
        self.name_site(&op)?;
        self.write(
            &Line::Intent { seq, frame: current_frame(), time: now(), op: op.clone(), undo: before.clone() },
            !cheap,
        )?;
        let latest = Mutex::new(before);
        let learned = |undo: Undo| {
            self.faults.point();
            // What is not written down is not begun either; but what is known to be nothing need not be taken back.
            let written = self.write(&Line::Learned { seq, undo: undo.clone() }, true);
            if written.is_ok() || undo == Undo::Nothing {
                *lock(&latest) = undo;
            }
            written
        };
        let begun = Instant::now();
        let result = self.faults.before(seq).and_then(|()| {
            self.faults.point();
            perform(&*self.world, &Step { progress, learned: &learned })
        });
        match result {
            Ok((value, undo)) => {
                self.faults.after(seq);
                self.faults.point();
                let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                // A failed write here leaves the operation open in the journal; it is in memory too, so rollback knows it.
                let written = self.write(&Line::Done { seq, undo: undo.clone(), ms }, false);
                self.events.done(&op, ms);
                self.remember(seq, op, undo);
                written?;
                Ok(value)
            }
            Err(e) => {
                let e = named(e);
                let undo = lock(&latest).clone();
                let _ = self.write(&Line::Failed { seq, error: e.clone() }, false);
                match &undo {
                    Undo::Impossible { command } if e.kind.is_unsure() => {
                        let what = format!("{} {} may have been done", op.op, op.subject);
                        lock(&self.left).push((what.clone(), command.clone()));
                        let _ = self.write(&Line::Left { seq, what, command: command.clone() }, false);
                    }
                    // An operation that failed before it began its effect needs no command for a person.
                    Undo::Impossible { .. } | Undo::Keep { .. } => {
                        let _ = self.write(&Line::Undone { seq, said: "failed".into() }, false);
                    }
                    _ => {
                        let refused = e.kind == Kind::Denied;
                        self.take_back(&Open { seq, op, undo, unknown: true }, refused);
                    }
                }
                Err(e)
            }
        }
    }

    /// The one way an image comes to be: under a name that only this run can have, then renamed to its own.
    pub fn make_image(
        &self,
        op: Op,
        image: &ImageSpec,
        make: impl FnOnce(&dyn World, &ImageSpec, &Step) -> Result<()>,
    ) -> Result<Image> {
        let temp = image.sibling(&format!(".zs-{}", self.unique()));
        let undo = |id: Option<String>, snaps: Vec<u64>| Undo::RemoveImage {
            image: image.clone(),
            temp: temp.clone(),
            id,
            snaps,
        };
        // Before the intent: who could not even look has begun nothing, and has nothing to take back.
        self.rights.check(&op.op, &op.subject)?;
        if self.world.rbd().exists(image).map_err(|e| e.op(&op.op).subject(&op.subject))? {
            return Err(Error::exists("there is an image of this name")
                .op(&op.op)
                .subject(image)
                .hint(format!("choose another name, or look at it: zs -e 'rbd.info(\"{image}\")'")));
        }
        let made = self.change(op, undo(None, vec![]), |world, step| {
            if !world.is_live() {
                make(world, image, step)?;
                let info = world.rbd().info(image)?;
                let (id, snaps) = (info.id.clone(), snaps_of(world, image, &info)?);
                return Ok((info, undo(Some(id), snaps)));
            }
            // People know it by the name that it was to have.
            let named =
                |e: Error| if e.subject == temp.to_string() { Error { subject: image.to_string(), ..e } } else { e };
            make(world, &temp, step).map_err(named)?;
            self.faults.point();
            let info = world.rbd().info(&temp)?;
            let snaps = snaps_of(world, &temp, &info)?;
            step.learned(undo(Some(info.id.clone()), snaps.clone()))?;
            self.faults.point();
            world.give_name(&info, image)?;
            let id = info.id.clone();
            Ok((Image { name: image.image.clone(), ..info }, undo(Some(id), snaps)))
        })?;
        lock(&self.made).insert(made.id.clone(), current_frame());
        Ok(made)
    }

    /// Keeps what was there before a change, for its undo.
    pub fn keep(&self, name: &str, content: &[u8]) -> Result<String> {
        let name = format!("{}-{name}", self.unique());
        if self.planning() {
            lock(&self.kept).insert(name.clone(), content.to_vec());
            return Ok(name);
        }
        self.open_journal()?;
        match &*lock(&self.journal) {
            Some(j) => j.keep(&name, content),
            None => Err(Error::failed("the journal is not open")),
        }
    }
}

/// The ids of the snapshots that an image came with.
fn snaps_of(world: &dyn World, image: &ImageSpec, info: &Image) -> Result<Vec<u64>> {
    if info.snapshot_count == 0 {
        return Ok(Vec::new());
    }
    Ok(world.rbd().snap_ls(image, false)?.iter().map(|s| s.id).collect())
}

pub fn now() -> String {
    jiff::Timestamp::now().to_string()
}
