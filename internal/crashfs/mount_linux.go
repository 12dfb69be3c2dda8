package crashfs

import (
	"maps"
	"slices"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Mount shows d at dir, which must exist, until unmount is called. It needs
// /dev/fuse and the right to mount.
func (d *Disk) Mount(dir string) (unmount func() error, err error) {
	s, err := fuse.NewServer(&kernel{fuse.NewDefaultRawFileSystem(), d}, dir, &fuse.MountOptions{
		Name: "crashfs", FsName: "crashfs", DirectMount: true, DisableXAttrs: true, DisableReadDirPlus: true, MaxWrite: 1 << 20,
	})
	if err != nil {
		return nil, err
	}
	go s.Serve() // ends with unmount
	if err := s.WaitMount(); err != nil {
		return nil, err
	}
	return s.Unmount, nil
}

// kernel answers the questions of the kernel. Every number of a node is that of
// its inode, for as long as the disk is mounted: a file that comes back after a
// loss of power is the same file.
type kernel struct {
	fuse.RawFileSystem
	d *Disk
}

func (k *kernel) attr(f *file, a *fuse.Attr) {
	n := len(f.data)
	*a = fuse.Attr{Ino: f.ino, Size: uint64(n), Blocks: uint64(n+511) / 512, Mode: f.mode, Nlink: 1, Blksize: page}
	a.SetTimes(&f.changed, &f.changed, &f.changed)
}

func (k *kernel) entry(f *file, out *fuse.EntryOut) {
	out.NodeId = f.ino
	k.attr(f, &out.Attr)
}

// in lets an operation on a node in.
func (k *kernel) in(node uint64) (*file, fuse.Status) {
	if e := k.d.enter(); e != 0 {
		return nil, fuse.Status(e)
	}
	f := k.d.files[node]
	if f == nil {
		k.d.mu.Unlock()
		return nil, fuse.ENOENT
	}
	return f, fuse.OK
}

// child finds name in a folder.
func (k *kernel) child(dir *file, name string) *file { return k.d.files[dir.names[name]] }

// Lookup finds a name.
func (k *kernel) Lookup(_ <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	dir, s := k.in(h.NodeId)
	if s != fuse.OK {
		return s
	}
	defer k.d.mu.Unlock()
	f := k.child(dir, name)
	if f == nil {
		return fuse.ENOENT
	}
	k.entry(f, out)
	return fuse.OK
}

// GetAttr is stat.
func (k *kernel) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	f, s := k.in(in.NodeId)
	if s != fuse.OK {
		return s
	}
	defer k.d.mu.Unlock()
	k.attr(f, &out.Attr)
	return fuse.OK
}

// SetAttr is chmod and truncate; times and owners it forgets.
func (k *kernel) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	f, s := k.in(in.NodeId)
	if s != fuse.OK {
		return s
	}
	defer k.d.mu.Unlock()
	if n, ok := in.GetSize(); ok {
		if e := k.d.write(f, change{at: int64(n)}); e != 0 {
			return fuse.Status(e)
		}
	}
	if m, ok := in.GetMode(); ok {
		f.mode = f.mode&syscall.S_IFMT | m&^syscall.S_IFMT
	}
	k.attr(f, &out.Attr)
	return fuse.OK
}

// create makes a node of a name.
func (k *kernel) create(parent uint64, name string, mode uint32, out *fuse.EntryOut) fuse.Status {
	dir, s := k.in(parent)
	if s != fuse.OK {
		return s
	}
	defer k.d.mu.Unlock()
	if e := k.d.fault.Names; e != 0 {
		return fuse.Status(e)
	}
	if k.child(dir, name) != nil {
		return fuse.Status(syscall.EEXIST)
	}
	f := k.d.make(mode)
	dir.names[name], dir.changed = f.ino, f.changed
	k.entry(f, out)
	return fuse.OK
}

// Mknod makes a socket, mostly.
func (k *kernel) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	return k.create(in.NodeId, name, in.Mode, out)
}

// Mkdir makes a folder.
func (k *kernel) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	return k.create(in.NodeId, name, in.Mode|syscall.S_IFDIR, out)
}

// Create makes and opens a file.
func (k *kernel) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	return k.create(in.NodeId, name, in.Mode|syscall.S_IFREG, &out.EntryOut)
}

// Unlink deletes a name; who has the file open keeps it.
func (k *kernel) Unlink(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	dir, s := k.in(h.NodeId)
	if s != fuse.OK {
		return s
	}
	defer k.d.mu.Unlock()
	if e := k.d.fault.Names; e != 0 && !k.d.fault.Full {
		return fuse.Status(e)
	}
	f := k.child(dir, name)
	switch {
	case f == nil:
		return fuse.ENOENT
	case len(f.names) > 0:
		return fuse.Status(syscall.ENOTEMPTY)
	}
	delete(dir.names, name)
	return fuse.OK
}

// Rmdir deletes an empty folder.
func (k *kernel) Rmdir(c <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return k.Unlink(c, h, name)
}

// Flags of renameat2.
const (
	noReplace = 1
	exchange  = 2
)

// Rename gives a file another name.
func (k *kernel) Rename(_ <-chan struct{}, in *fuse.RenameIn, from, to string) fuse.Status {
	dir, s := k.in(in.NodeId)
	if s != fuse.OK {
		return s
	}
	defer k.d.mu.Unlock()
	if e := k.d.fault.Names; e != 0 && !k.d.fault.Full {
		return fuse.Status(e)
	}
	target := k.d.files[in.Newdir]
	if target == nil {
		return fuse.ENOENT
	}
	f, other := k.child(dir, from), k.child(target, to)
	switch {
	case f == nil, in.Flags&exchange != 0 && other == nil:
		return fuse.ENOENT
	case in.Flags&noReplace != 0 && other != nil:
		return fuse.Status(syscall.EEXIST)
	case in.Flags&exchange == 0 && other != nil && len(other.names) > 0:
		return fuse.Status(syscall.ENOTEMPTY)
	}
	if dir != target {
		k.d.moves = append(k.d.moves, [2]uint64{dir.ino, target.ino})
	}
	delete(dir.names, from)
	target.names[to] = f.ino
	if in.Flags&exchange != 0 {
		dir.names[from] = other.ino
	}
	return fuse.OK
}

// Link gives a file one name more.
func (k *kernel) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	dir, s := k.in(in.NodeId)
	if s != fuse.OK {
		return s
	}
	defer k.d.mu.Unlock()
	f := k.d.files[in.Oldnodeid]
	switch {
	case k.d.fault.Names != 0:
		return fuse.Status(k.d.fault.Names)
	case f == nil:
		return fuse.ENOENT
	case k.child(dir, name) != nil:
		return fuse.Status(syscall.EEXIST)
	}
	dir.names[name] = f.ino
	k.entry(f, out)
	return fuse.OK
}

// Open lets the kernel forget what it holds of the file, since the power may have
// been lost.
func (k *kernel) Open(_ <-chan struct{}, in *fuse.OpenIn, _ *fuse.OpenOut) fuse.Status {
	f, s := k.in(in.NodeId)
	if s != fuse.OK {
		return s
	}
	defer k.d.mu.Unlock()
	if in.Flags&syscall.O_TRUNC != 0 {
		return fuse.Status(k.d.write(f, change{}))
	}
	return fuse.OK
}

func (k *kernel) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	f, s := k.in(in.NodeId)
	if s != fuse.OK {
		return nil, s
	}
	defer k.d.mu.Unlock()
	from := min(in.Offset, uint64(len(f.data)))
	n := copy(buf[:in.Size], f.data[from:])
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

func (k *kernel) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	f, s := k.in(in.NodeId)
	if s != fuse.OK {
		return 0, s
	}
	defer k.d.mu.Unlock()
	if e := k.d.write(f, change{int64(in.Offset), slices.Clone(data)}); e != 0 {
		return 0, fuse.Status(e)
	}
	return uint32(len(data)), fuse.OK
}

// Flush is close: it syncs nothing.
func (k *kernel) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.OK }

// Fsync makes a file durable, and names as the mode says.
func (k *kernel) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	f, s := k.in(in.NodeId)
	if s != fuse.OK {
		return s
	}
	defer k.d.mu.Unlock()
	return fuse.Status(k.d.sync(f))
}

// FsyncDir makes the names in a folder durable.
func (k *kernel) FsyncDir(c <-chan struct{}, in *fuse.FsyncIn) fuse.Status { return k.Fsync(c, in) }

// OpenDir needs nothing.
func (k *kernel) OpenDir(<-chan struct{}, *fuse.OpenIn, *fuse.OpenOut) fuse.Status { return fuse.OK }

// ReadDir lists names, in their order; the offset counts them.
func (k *kernel) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	dir, s := k.in(in.NodeId)
	if s != fuse.OK {
		return s
	}
	defer k.d.mu.Unlock()
	names := slices.Sorted(maps.Keys(dir.names))
	for i := min(int(in.Offset), len(names)); i < len(names); i++ {
		f := k.child(dir, names[i])
		if !out.AddDirEntry(fuse.DirEntry{Name: names[i], Ino: f.ino, Mode: f.mode, Off: uint64(i + 1)}) {
			break
		}
	}
	return fuse.OK
}

// StatFs tells of much room, or of none.
func (k *kernel) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	if e := k.d.enter(); e != 0 {
		return fuse.Status(e)
	}
	defer k.d.mu.Unlock()
	free := uint64(k.d.free() / page)
	out.Bsize, out.Frsize, out.Blocks, out.Files, out.NameLen = page, page, size/page, 1<<20, 255
	if out.Bfree, out.Bavail = free, free; free > 0 {
		out.Ffree = 1 << 20
	}
	return fuse.OK
}

// Access lets everybody in.
func (k *kernel) Access(<-chan struct{}, *fuse.AccessIn) fuse.Status { return fuse.OK }
