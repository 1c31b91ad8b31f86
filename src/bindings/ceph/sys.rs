//! What librados says: the functions zs uses, and owned handles around them. No policy here.
//!
//! Prototypes are those of `/usr/include/rados/librados.h`; the C ABI only grows. Failures are errno values as C
//! returns them; what they mean is the business of `live`.

#![allow(unsafe_code)]

use super::calls::{Calls, Ticket};
use crate::c_table;
use crate::error::Result as ZsResult;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

c_table! { pub Lib: ["librados.so.2"], "librados2" {
    fn rados_create(cluster: *mut *mut c_void, id: *const c_char) -> c_int;
    fn rados_conf_read_file(cluster: *mut c_void, path: *const c_char) -> c_int;
    fn rados_conf_parse_env(cluster: *mut c_void, var: *const c_char) -> c_int;
    fn rados_conf_set(cluster: *mut c_void, option: *const c_char, value: *const c_char) -> c_int;
    fn rados_conf_get(cluster: *mut c_void, option: *const c_char, buf: *mut c_char, len: usize) -> c_int;
    fn rados_connect(cluster: *mut c_void) -> c_int;
    fn rados_shutdown(cluster: *mut c_void);
    fn rados_get_instance_id(cluster: *mut c_void) -> u64;
    fn rados_cluster_fsid(cluster: *mut c_void, buf: *mut c_char, len: usize) -> c_int;
    fn rados_wait_for_latest_osdmap(cluster: *mut c_void) -> c_int;
    fn rados_pool_list(cluster: *mut c_void, buf: *mut c_char, len: usize) -> c_int;
    fn rados_pool_lookup(cluster: *mut c_void, name: *const c_char) -> i64;
    fn rados_pool_reverse_lookup(cluster: *mut c_void, id: i64, buf: *mut c_char, len: usize) -> c_int;
    fn rados_mon_command(
        cluster: *mut c_void,
        cmd: *const *const c_char,
        cmdlen: usize,
        inbuf: *const c_char,
        inbuflen: usize,
        outbuf: *mut *mut c_char,
        outbuflen: *mut usize,
        outs: *mut *mut c_char,
        outslen: *mut usize,
    ) -> c_int;
    fn rados_mgr_command(
        cluster: *mut c_void,
        cmd: *const *const c_char,
        cmdlen: usize,
        inbuf: *const c_char,
        inbuflen: usize,
        outbuf: *mut *mut c_char,
        outbuflen: *mut usize,
        outs: *mut *mut c_char,
        outslen: *mut usize,
    ) -> c_int;
    fn rados_buffer_free(buf: *mut c_char);
    fn rados_ioctx_create(cluster: *mut c_void, pool: *const c_char, io: *mut *mut c_void) -> c_int;
    fn rados_ioctx_destroy(io: *mut c_void);
    fn rados_ioctx_set_namespace(io: *mut c_void, namespace: *const c_char);
    fn rados_ioctx_get_id(io: *mut c_void) -> i64;
    fn rados_stat(io: *mut c_void, object: *const c_char, size: *mut u64, mtime: *mut libc::time_t) -> c_int;
    fn rados_read(io: *mut c_void, object: *const c_char, buf: *mut c_char, len: usize, offset: u64) -> c_int;
    fn rados_remove(io: *mut c_void, object: *const c_char) -> c_int;
    fn rados_exec(
        io: *mut c_void,
        object: *const c_char,
        class: *const c_char,
        method: *const c_char,
        input: *const c_char,
        input_len: usize,
        out: *mut c_char,
        out_len: usize,
    ) -> c_int;
    fn rados_create_read_op() -> *mut c_void;
    fn rados_release_read_op(op: *mut c_void);
    fn rados_read_op_exec_user_buf(
        op: *mut c_void,
        class: *const c_char,
        method: *const c_char,
        input: *const c_char,
        input_len: usize,
        out: *mut c_char,
        out_len: usize,
        used: *mut usize,
        rc: *mut c_int,
    );
    fn rados_read_op_operate(op: *mut c_void, io: *mut c_void, object: *const c_char, flags: c_int) -> c_int;
    fn rados_create_write_op() -> *mut c_void;
    fn rados_release_write_op(op: *mut c_void);
    fn rados_write_op_create(op: *mut c_void, exclusive: c_int, category: *const c_char);
    fn rados_write_op_write_full(op: *mut c_void, buf: *const c_char, len: usize);
    fn rados_write_op_operate(
        op: *mut c_void,
        io: *mut c_void,
        object: *const c_char,
        mtime: *mut libc::time_t,
        flags: c_int,
    ) -> c_int;
} }

// Two names of one function: Ceph 14 has only the first, and the first is deprecated since 15.
c_table! { FullTry: ["librados.so.2"], "librados2" { fn rados_set_pool_full_try(io: *mut c_void); } }
c_table! { OldFullTry: ["librados.so.2"], "librados2" { fn rados_set_osdmap_full_try(io: *mut c_void); } }

/// What a C function of Ceph returned when it failed: an errno, positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

pub type Result<T> = std::result::Result<T, Errno>;

/// Negative is an errno, anything else the answer.
pub fn check<T: Copy + Into<i64>>(rc: T) -> Result<T> {
    let n: i64 = rc.into();
    if n < 0 { Err(Errno(n.unsigned_abs().min(i32::MAX as u64) as i32)) } else { Ok(rc) }
}

/// Names with NUL inside never reach C: they are no names for Ceph either.
pub fn cstring(s: &str) -> Result<CString> {
    CString::new(s).map_err(|_| Errno(libc::EINVAL))
}

/// Calls `f` with growing buffers until its answer fits.
pub fn grow(start: usize, mut f: impl FnMut(&mut [u8]) -> Result<usize>) -> Result<Vec<u8>> {
    let mut buf = vec![0u8; start];
    loop {
        match f(&mut buf) {
            Err(Errno(libc::ERANGE | libc::ENAMETOOLONG)) if buf.len() < 64 << 20 => {}
            Ok(n) if n > buf.len() => {}
            Ok(n) => {
                buf.truncate(n);
                return Ok(buf);
            }
            Err(e) => return Err(e),
        }
        buf = vec![0u8; buf.len() * 4];
    }
}

/// The text before the first NUL.
pub fn text(buf: &[u8]) -> String {
    String::from_utf8_lossy(buf.split(|b| *b == 0).next().unwrap_or_default()).into_owned()
}

/// The texts of a buffer that separates them by NUL.
pub fn texts(buf: &[u8]) -> Vec<String> {
    buf.split(|b| *b == 0).filter(|s| !s.is_empty()).map(|s| String::from_utf8_lossy(s).into_owned()).collect()
}

/// What a monitor or manager command answered.
pub struct Answer {
    pub outcome: Result<()>,
    pub data: Vec<u8>,
    pub status: String,
}

/// A `rados_t`: shut down when dropped.
pub struct Rados {
    lib: &'static Lib,
    raw: *mut c_void,
    pub calls: Arc<Calls>,
}

// SAFETY: librados handles may be used from any thread; librados locks inside.
unsafe impl Send for Rados {}
// SAFETY: as above.
unsafe impl Sync for Rados {}

static IS_LAST: AtomicBool = AtomicBool::new(false);

/// From here on connections end with the process: each would take milliseconds to end its threads.
pub fn leave_to_process() {
    IS_LAST.store(true, Ordering::SeqCst);
}

impl Drop for Rados {
    fn drop(&mut self) {
        // Files of librados' own, a socket and a log, are its to take away and to finish.
        let is_bare = |o| self.conf_get(o).is_ok_and(|v| v.is_empty());
        if !(IS_LAST.load(Ordering::SeqCst) && is_bare(c"admin_socket") && is_bare(c"log_file")) {
            // SAFETY: created by rados_create and not shut down before; io contexts hold an Arc and are gone.
            unsafe { (self.lib.rados_shutdown)(self.raw) }
        }
    }
}

impl Rados {
    pub fn create(id: &str) -> ZsResult<Result<Rados>> {
        let lib = Lib::get()?;
        let Ok(id) = cstring(id) else { return Ok(Err(Errno(libc::EINVAL))) };
        let mut raw = std::ptr::null_mut();
        // SAFETY: a place for the handle and a NUL-terminated id, copied by the callee.
        let rc = unsafe { (lib.rados_create)(&mut raw, id.as_ptr()) };
        Ok(check(rc).map(|_| Rados { lib, raw, calls: Arc::default() }))
    }

    /// `None`: $CEPH_CONF, then librados' own search.
    pub fn conf_read_file(&self, path: Option<&CStr>) -> Result<()> {
        let path = path.map_or(std::ptr::null(), CStr::as_ptr);
        // SAFETY: NULL or a NUL-terminated path.
        check(unsafe { (self.lib.rados_conf_read_file)(self.raw, path) }).map(drop)
    }

    /// Options in $CEPH_ARGS.
    pub fn conf_parse_env(&self) -> Result<()> {
        // SAFETY: NULL stands for CEPH_ARGS.
        check(unsafe { (self.lib.rados_conf_parse_env)(self.raw, std::ptr::null()) }).map(drop)
    }

    pub fn conf_set(&self, option: &CStr, value: &str) -> Result<()> {
        let value = cstring(value)?;
        // SAFETY: two NUL-terminated strings, copied by the callee.
        check(unsafe { (self.lib.rados_conf_set)(self.raw, option.as_ptr(), value.as_ptr()) }).map(drop)
    }

    pub fn conf_get(&self, option: &CStr) -> Result<String> {
        grow(1024, |b| {
            // SAFETY: the buffer has the length that is passed.
            let rc = unsafe { (self.lib.rados_conf_get)(self.raw, option.as_ptr(), b.as_mut_ptr().cast(), b.len()) };
            check(rc).map(|_| b.len())
        })
        .map(|b| text(&b))
    }

    pub fn connect(&self) -> Result<()> {
        // SAFETY: a handle that is configured and not yet connected.
        check(unsafe { (self.lib.rados_connect)(self.raw) }).map(drop)
    }

    /// The number in `client.4152`, by which watchers and lockers are known.
    pub fn instance_id(&self) -> i64 {
        // SAFETY: a connected handle.
        unsafe { (self.lib.rados_get_instance_id)(self.raw) as i64 }
    }

    pub fn fsid(&self) -> Result<String> {
        let mut buf = [0u8; 64];
        // SAFETY: the buffer has the length that is passed; 37 bytes are needed.
        check(unsafe { (self.lib.rados_cluster_fsid)(self.raw, buf.as_mut_ptr().cast(), buf.len()) })?;
        Ok(text(&buf))
    }

    /// A pool made a moment ago is known to this handle only with the newest map.
    pub fn wait_for_latest_osdmap(&self) -> Result<()> {
        // SAFETY: a connected handle.
        check(unsafe { (self.lib.rados_wait_for_latest_osdmap)(self.raw) }).map(drop)
    }

    pub fn pool_names(&self) -> Result<Vec<String>> {
        let buf = grow(4096, |b| {
            // SAFETY: the buffer has the length that is passed; the answer is the length needed.
            let rc = unsafe { (self.lib.rados_pool_list)(self.raw, b.as_mut_ptr().cast(), b.len()) };
            check(rc).map(|n| n as usize)
        })?;
        Ok(texts(&buf))
    }

    pub fn pool_id(&self, name: &str) -> Result<i64> {
        let name = cstring(name)?;
        // SAFETY: a NUL-terminated name.
        check(unsafe { (self.lib.rados_pool_lookup)(self.raw, name.as_ptr()) })
    }

    pub fn pool_name(&self, id: i64) -> Result<String> {
        let buf = grow(256, |b| {
            // SAFETY: the buffer has the length that is passed; too short is ERANGE.
            let rc = unsafe { (self.lib.rados_pool_reverse_lookup)(self.raw, id, b.as_mut_ptr().cast(), b.len()) };
            check(rc).map(|_| b.len())
        })?;
        Ok(text(&buf))
    }

    pub fn mon_command(&self, command: &str) -> Answer {
        self.command(self.lib.rados_mon_command, command)
    }

    pub fn mgr_command(&self, command: &str) -> Answer {
        self.command(self.lib.rados_mgr_command, command)
    }

    fn command(&self, f: CommandFn, command: &str) -> Answer {
        let command = match cstring(command) {
            Ok(c) => c,
            Err(e) => return Answer { outcome: Err(e), data: Vec::new(), status: String::new() },
        };
        let commands = [command.as_ptr()];
        let (mut out, mut out_len) = (std::ptr::null_mut(), 0);
        let (mut status, mut status_len) = (std::ptr::null_mut(), 0);
        // SAFETY: one NUL-terminated command, no input, and places for two buffers that librados allocates.
        let rc = unsafe {
            f(
                self.raw,
                commands.as_ptr(),
                commands.len(),
                std::ptr::null(),
                0,
                &mut out,
                &mut out_len,
                &mut status,
                &mut status_len,
            )
        };
        let data = self.take(out, out_len);
        let status = String::from_utf8_lossy(&self.take(status, status_len)).into_owned();
        Answer { outcome: check(rc).map(drop), data, status }
    }

    fn take(&self, buf: *mut c_char, len: usize) -> Vec<u8> {
        if buf.is_null() {
            return Vec::new();
        }
        // SAFETY: librados allocated `len` bytes at `buf`; they are copied and given back once.
        unsafe {
            let copy = std::slice::from_raw_parts(buf.cast::<u8>(), len).to_vec();
            (self.lib.rados_buffer_free)(buf);
            copy
        }
    }
}

type CommandFn = unsafe extern "C" fn(
    *mut c_void,
    *const *const c_char,
    usize,
    *const c_char,
    usize,
    *mut *mut c_char,
    *mut usize,
    *mut *mut c_char,
    *mut usize,
) -> c_int;

/// A `rados_ioctx_t`: one pool and namespace. Keeps its cluster connected.
pub struct IoCtx {
    cluster: Arc<Rados>,
    raw: *mut c_void,
    pool: Arc<str>,
    namespace: Box<str>,
}

/// A handle for one call of C; while this lives, the call is known to be going on.
pub struct Call {
    pub raw: *mut c_void,
    pub ticket: Ticket,
}

// SAFETY: operations on an io context may come from any thread; what must not (setting the namespace, the full-try
// flag) happens in `create`, before anybody else has it.
unsafe impl Send for IoCtx {}
// SAFETY: as above.
unsafe impl Sync for IoCtx {}

impl Drop for IoCtx {
    fn drop(&mut self) {
        // SAFETY: created by rados_ioctx_create; images opened on it hold an Arc and are closed.
        unsafe { (self.cluster.lib.rados_ioctx_destroy)(self.raw) }
    }
}

impl IoCtx {
    /// Operations on a full pool answer instead of waiting for room.
    pub fn create(cluster: &Arc<Rados>, pool: &str, space: &str) -> Result<IoCtx> {
        let (name, namespace) = (cstring(pool)?, cstring(space)?);
        let mut raw = std::ptr::null_mut();
        // SAFETY: a connected handle, a NUL-terminated name, a place for the context.
        check(unsafe { (cluster.lib.rados_ioctx_create)(cluster.raw, name.as_ptr(), &mut raw) })?;
        let io = IoCtx { cluster: cluster.clone(), raw, pool: pool.into(), namespace: space.into() };
        // SAFETY: a fresh context that no other thread has yet; the name is copied.
        unsafe {
            (cluster.lib.rados_ioctx_set_namespace)(raw, namespace.as_ptr());
            match (FullTry::get(), OldFullTry::get()) {
                (Ok(t), _) => (t.rados_set_pool_full_try)(raw),
                (_, Ok(t)) => (t.rados_set_osdmap_full_try)(raw),
                _ => {}
            }
        }
        Ok(io)
    }

    /// For librbd, which takes the context as it is; where another handle stands for the call.
    pub fn as_ptr(&self) -> *mut c_void {
        self.raw
    }

    pub fn ticket(&self) -> Ticket {
        self.cluster.calls.begin(&self.pool)
    }

    pub fn call(&self) -> Call {
        Call { raw: self.raw, ticket: self.ticket() }
    }

    /// A question that only an OSD can answer, asked to hear whether one does: nobody is known to wait for it. "No such
    /// object" is an answer, too.
    pub fn ask(&self) -> Result<()> {
        let (mut size, mut mtime) = (0, 0);
        // SAFETY: a NUL-terminated name and two places of the right size.
        match check(unsafe {
            (self.cluster.lib.rados_stat)(self.raw, c"rbd_directory".as_ptr(), &mut size, &mut mtime)
        }) {
            Err(Errno(libc::ENOENT)) => Ok(()),
            rc => rc.map(drop),
        }
    }

    pub fn cluster(&self) -> &Arc<Rados> {
        &self.cluster
    }

    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    pub fn pool_id(&self) -> i64 {
        // SAFETY: a context that is not destroyed.
        unsafe { (self.cluster.lib.rados_ioctx_get_id)(self.raw) }
    }

    /// The size of an object.
    pub fn stat(&self, object: &CStr) -> Result<u64> {
        let (mut size, mut mtime) = (0, 0);
        // SAFETY: a NUL-terminated name and two places of the right size.
        check(unsafe { (self.cluster.lib.rados_stat)(self.call().raw, object.as_ptr(), &mut size, &mut mtime) })?;
        Ok(size)
    }

    /// When an object was last changed: seconds since 1970.
    pub fn changed(&self, object: &CStr) -> Result<i64> {
        let (mut size, mut mtime) = (0, 0);
        // SAFETY: a NUL-terminated name and two places of the right size.
        check(unsafe { (self.cluster.lib.rados_stat)(self.call().raw, object.as_ptr(), &mut size, &mut mtime) })?;
        Ok(mtime)
    }

    /// The beginning of an object.
    pub fn read(&self, object: &CStr, len: usize) -> Result<Vec<u8>> {
        let mut buf = vec![0u8; len];
        let n = self.read_at(object, &mut buf, 0)?;
        buf.truncate(n);
        Ok(buf)
    }

    /// Fills a buffer as far as the object goes; how far that was.
    pub fn read_at(&self, object: &CStr, buf: &mut [u8], at: u64) -> Result<usize> {
        let (read, raw) = (self.cluster.lib.rados_read, self.call().raw);
        // SAFETY: a NUL-terminated name, and a buffer of this length.
        let n = unsafe { read(raw, object.as_ptr(), buf.as_mut_ptr().cast(), buf.len(), at) };
        check(n.min(0)).map(|_| n as usize)
    }

    pub fn remove(&self, object: &CStr) -> Result<()> {
        // SAFETY: a NUL-terminated name.
        check(unsafe { (self.cluster.lib.rados_remove)(self.call().raw, object.as_ptr()) }).map(drop)
    }

    /// What methods of the object class `rbd` answer, asked in one operation: all or none of them.
    pub fn ask_rbd<const N: usize>(&self, object: &CStr, asked: [(&CStr, &[u8]); N]) -> Result<[Vec<u8>; N]> {
        let lib = self.cluster.lib;
        let mut out = [(); N].map(|()| vec![0u8; ANSWER]);
        let (mut used, mut codes) = ([0usize; N], [0 as c_int; N]);
        // SAFETY: the operation is released below, after which nothing points to these places; each buffer has the length told;
        // inputs are copied by the call.
        let rc = unsafe {
            let op = (lib.rados_create_read_op)();
            for (i, (method, input)) in asked.iter().enumerate() {
                (lib.rados_read_op_exec_user_buf)(
                    op,
                    c"rbd".as_ptr(),
                    method.as_ptr(),
                    input.as_ptr().cast(),
                    input.len(),
                    out[i].as_mut_ptr().cast(),
                    ANSWER,
                    &mut used[i],
                    &mut codes[i],
                );
            }
            let rc = (lib.rados_read_op_operate)(op, self.call().raw, object.as_ptr(), 0);
            (lib.rados_release_read_op)(op);
            rc
        };
        check(rc)?;
        codes.into_iter().try_for_each(|rc| check(rc).map(drop))?;
        for (out, used) in out.iter_mut().zip(used) {
            out.truncate(used);
        }
        Ok(out)
    }

    /// Calls a method of the object class `rbd` that changes an object.
    pub fn tell_rbd(&self, object: &CStr, method: &CStr, input: &[u8]) -> Result<()> {
        // SAFETY: NUL-terminated names, an input of this length, and no room for an answer.
        check(unsafe {
            (self.cluster.lib.rados_exec)(
                self.call().raw,
                object.as_ptr(),
                c"rbd".as_ptr(),
                method.as_ptr(),
                input.as_ptr().cast(),
                input.len(),
                std::ptr::null_mut(),
                0,
            )
        })
        .map(drop)
    }

    /// Makes an object with this content; EEXIST when there is one.
    pub fn create_object(&self, object: &CStr, content: &[u8]) -> Result<()> {
        const EXCLUSIVE: c_int = 1;
        let lib = self.cluster.lib;
        // SAFETY: the operation is released after it was performed; the content is copied by the call; no category, no time.
        check(unsafe {
            let op = (lib.rados_create_write_op)();
            (lib.rados_write_op_create)(op, EXCLUSIVE, std::ptr::null());
            (lib.rados_write_op_write_full)(op, content.as_ptr().cast(), content.len());
            let rc = (lib.rados_write_op_operate)(op, self.call().raw, object.as_ptr(), std::ptr::null_mut(), 0);
            (lib.rados_release_write_op)(op);
            rc
        })
        .map(drop)
    }
}

/// Bytes that an answer of the object class `rbd` may have here: a name of an image is the longest.
const ANSWER: usize = 512;
