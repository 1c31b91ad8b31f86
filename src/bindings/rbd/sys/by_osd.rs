//! What librados offers to C++ alone: which parts of an object are there, a copy that the OSDs make among themselves, and who
//! watches an object.
//!
//! The functions are found by the names that the C++ ABI gives them (Itanium's, with the texts and maps of libstdc++), of the
//! versioned namespace that librados keeps since Ceph 14.2. A library that was built otherwise has none of these names, and
//! then nobody copies by them.

use super::*;
use crate::bindings::ceph::sys::IoCtx;
use std::ffi::CStr;
use std::ops::Range;

c_table! { Cpp: ["librados.so.2"], "librados2" {
    // ObjectOperation::ObjectOperation() and its destructor.
    fn _ZN8librados7v14_2_015ObjectOperationC1Ev(op: *mut Op);
    fn _ZN8librados7v14_2_015ObjectOperationD1Ev(op: *mut Op);
    // void ObjectWriteOperation::create(bool exclusive)
    fn _ZN8librados7v14_2_020ObjectWriteOperation6createEb(op: *mut Op, exclusive: bool);
    // void ObjectWriteOperation::copy_from(const std::string& src, const IoCtx& src_ioctx, uint64_t src_version,
    //                                      uint32_t src_fadvise_flags)
    fn _ZN8librados7v14_2_020ObjectWriteOperation9copy_fromERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEERKNS0_5IoCtxEmj(
        op: *mut Op, src: *const Text, io: *const Handle, version: u64, flags: u32,
    );
    // int IoCtx::operate(const std::string& oid, ObjectWriteOperation *op)
    fn _ZN8librados7v14_2_05IoCtx7operateERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEEPNS0_20ObjectWriteOperationE(
        io: *const Handle, oid: *const Text, op: *mut Op,
    ) -> c_int;
    // int IoCtx::mapext(const std::string& o, uint64_t off, size_t len, std::map<uint64_t,uint64_t>& m)
    fn _ZN8librados7v14_2_05IoCtx6mapextERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEEmmRSt3mapImmSt4lessImESaISt4pairIKmmEEE(
        io: *const Handle, oid: *const Text, offset: u64, len: usize, found: *mut Tree,
    ) -> c_int;
    // int IoCtx::list_watchers(const std::string& oid, std::list<obj_watch_t> *out_watchers)
    fn _ZN8librados7v14_2_05IoCtx13list_watchersERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEEPNS2_4listI11obj_watch_tSaISB_EEE(
        io: *const Handle, oid: *const Text, found: *mut List,
    ) -> c_int;
    fn rados_ioctx_snap_set_read(io: *mut c_void, snap: u64);
} }

// operator delete(void*)
c_table! { Delete: ["libstdc++.so.6"], "libstdc++6" { fn _ZdlPv(p: *mut c_void); } }

/// `librados::ObjectOperation`: a table of virtual functions and a pointer, and room to spare.
type Op = [usize; 4];

/// `librados::IoCtx`: a pointer to what `rados_ioctx_t` is. The reference that a `Handle` has is that of its `IoCtx`.
#[repr(C)]
struct Handle(*mut c_void);

/// `std::string` as it is read by who gets a const reference: where it begins, and its length.
#[repr(C)]
struct Text(*const c_char, usize, [usize; 2]);

impl Text {
    fn of(s: &CStr) -> Text {
        Text(s.as_ptr(), s.count_bytes(), [s.count_bytes(), 0])
    }
}

/// `std::map<uint64_t, uint64_t>`: what compares, the node that stands for the end, and how many there are.
#[repr(C)]
struct Tree {
    compares: usize,
    end: Links,
    count: usize,
}

/// `std::_Rb_tree_node_base`
#[repr(C)]
struct Links {
    colour: c_int,
    root: *mut Node,
    left: *mut Node,
    right: *mut Node,
}

#[repr(C)]
struct Node {
    links: Links,
    key: u64,
    value: u64,
}

/// `std::list<obj_watch_t>`: the first node and the last, which point back to it, and how many there are.
#[repr(C)]
struct List {
    first: *mut Watch,
    last: *mut Watch,
    count: usize,
}

#[repr(C)]
struct Watch {
    next: *mut Watch,
    before: *mut Watch,
    // obj_watch_t
    address: [u8; 256],
    client: i64,
    cookie: u64,
    seconds: u32,
}

/// Who watches an object.
pub fn watchers(io: &IoCtx, object: &CStr) -> ZsResult<Result<Vec<RawWatcher>>> {
    let (lib, delete) = (Cpp::get()?, Delete::get()?);
    let null = std::ptr::null_mut();
    let mut found = List { first: null, last: null, count: 0 };
    // Of an empty list both point to itself.
    let end: *mut Watch = (&raw mut found).cast();
    (found.first, found.last) = (end, end);
    let (handle, call) = (Handle(io.as_ptr()), io.ticket());
    // SAFETY: a living context; a text and an empty list in the layout of libstdc++, which the callee fills with nodes of its
    // own.
    let rc = unsafe {
        (lib._ZN8librados7v14_2_05IoCtx13list_watchersERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEEPNS2_4listI11obj_watch_tSaISB_EEE)(
            &handle, &Text::of(object), &mut found,
        )
    };
    drop(call);
    let mut list = Vec::with_capacity(found.count);
    let mut node = found.first;
    while !node.is_null() && node != end {
        // SAFETY: a node that operator new has made and that nothing points to after this; each is met once.
        let Watch { next, address, client, cookie, .. } = unsafe {
            let watch = node.read();
            (delete._ZdlPv)(node.cast());
            watch
        };
        let address = CStr::from_bytes_until_nul(&address).unwrap_or_default().to_string_lossy().into_owned();
        list.push(RawWatcher { address, client, cookie });
        node = next;
    }
    Ok(check(rc).map(|_| list))
}

/// Objects of one pool and, perhaps, one snapshot, that OSDs copy.
pub struct ByOsd {
    lib: &'static Cpp,
    delete: &'static Delete,
    from: IoCtx,
}

impl ByOsd {
    /// `from` is nobody else's; `snap`: the id of what is to be read.
    pub fn new(from: IoCtx, snap: Option<u64>) -> ZsResult<ByOsd> {
        let (lib, delete) = (Cpp::get()?, Delete::get()?);
        if let Some(snap) = snap {
            // SAFETY: a context that no other thread has yet.
            unsafe { (lib.rados_ioctx_snap_set_read)(from.as_ptr(), snap) };
        }
        Ok(ByOsd { lib, delete, from })
    }

    /// The parts of an object that are there, in order; ENOENT when all of it is not.
    pub fn extents(&self, object: &CStr, len: u64) -> Result<Vec<Range<u64>>> {
        let null = std::ptr::null_mut();
        let end = Links { colour: 0, root: null, left: null, right: null };
        let mut found = Tree { compares: 0, end, count: 0 };
        // Of an empty map both point to the end.
        let end = (&raw mut found.end).cast();
        (found.end.left, found.end.right) = (end, end);
        let (io, call) = (Handle(self.from.as_ptr()), self.from.ticket());
        // SAFETY: a living context; a text and an empty map in the layout of libstdc++, which the callee fills with nodes of
        // its own.
        let rc = unsafe {
            (self.lib._ZN8librados7v14_2_05IoCtx6mapextERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEEmmRSt3mapImmSt4lessImESaISt4pairIKmmEEE)(
                &io, &Text::of(object), 0, len as usize, &mut found,
            )
        };
        drop(call);
        let mut list = Vec::with_capacity(found.count);
        self.take(found.end.root, &mut list);
        check(rc).map(|_| list)
    }

    /// Takes the nodes below and with this one, in order. A balanced tree is not deep.
    fn take(&self, node: *mut Node, list: &mut Vec<Range<u64>>) {
        if node.is_null() {
            return;
        }
        // SAFETY: a node that operator new has made and that nothing points to after this; each is met once.
        unsafe {
            let Node { links, key, value } = node.read();
            self.take(links.left, list);
            list.push(key..key.saturating_add(value));
            self.take(links.right, list);
            (self.delete._ZdlPv)(node.cast());
        }
    }

    /// Fills a buffer as far as the object goes; how far that was.
    pub fn read_at(&self, object: &CStr, buf: &mut [u8], at: u64) -> Result<usize> {
        self.from.read_at(object, buf, at)
    }

    /// Has an object made with the content of another; EEXIST when it is there.
    pub fn copy(&self, from: &CStr, into: &IoCtx, to: &CStr) -> Result<()> {
        let (source, target, call) = (Handle(self.from.as_ptr()), Handle(into.as_ptr()), into.ticket());
        let mut op: Op = [0; 4];
        // SAFETY: room for an operation, which is made before it is used and destroyed once; living contexts; texts in the layout
        // of libstdc++, copied by the callees.
        let rc = unsafe {
            (self.lib._ZN8librados7v14_2_015ObjectOperationC1Ev)(&mut op);
            (self.lib._ZN8librados7v14_2_020ObjectWriteOperation6createEb)(&mut op, true);
            (self.lib._ZN8librados7v14_2_020ObjectWriteOperation9copy_fromERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEERKNS0_5IoCtxEmj)(
                &mut op, &Text::of(from), &source, 0, io::SEQUENTIAL_NOCACHE as u32,
            );
            let rc = (self.lib._ZN8librados7v14_2_05IoCtx7operateERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEEPNS0_20ObjectWriteOperationE)(
                &target, &Text::of(to), &mut op,
            );
            (self.lib._ZN8librados7v14_2_015ObjectOperationD1Ev)(&mut op);
            rc
        };
        drop(call);
        check(rc).map(drop)
    }
}

// The nodes are read where C++ has put their parts.
const _: () = assert!(size_of::<List>() == 24 && size_of::<Watch>() == 16 + 256 + 24);
const _: () = assert!(size_of::<Tree>() == 48 && size_of::<Node>() == 48 && size_of::<Text>() == 32);
