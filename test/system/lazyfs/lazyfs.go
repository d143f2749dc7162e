//go:build system && linux

package lazyfs

import (
	"context"
	"errors"
	"io"
	iofs "io/fs"
	"path"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/myelin-stream/myelin/internal/vfs"
)

// Mount shows m at the folder dir, which must be empty, until the given function
// is called. That fails while a process has a file open there.
func Mount(dir string, m *vfs.Mem) (unmount func() error, err error) {
	hour := time.Hour // nobody changes m but through the kernel
	server, err := fs.Mount(dir, &node{mem: m}, &fs.Options{
		EntryTimeout: &hour, AttrTimeout: &hour,
		MountOptions: fuse.MountOptions{DirectMountStrict: true, FsName: "lazyfs", Name: "lazyfs", DisableXAttrs: true, MaxWrite: 1 << 20},
	})
	if err != nil {
		return nil, err
	}
	return server.Unmount, nil
}

// node is a file or a folder as the kernel knows it. A file is opened once, when
// it is first looked up: so it stays the same file when its name goes.
type node struct {
	fs.Inode
	mem  *vfs.Mem
	file vfs.File // nil for a folder
}

var (
	_ fs.NodeLookuper  = (*node)(nil)
	_ fs.NodeCreater   = (*node)(nil)
	_ fs.NodeMkdirer   = (*node)(nil)
	_ fs.NodeUnlinker  = (*node)(nil)
	_ fs.NodeRmdirer   = (*node)(nil)
	_ fs.NodeRenamer   = (*node)(nil)
	_ fs.NodeReaddirer = (*node)(nil)
	_ fs.NodeOpener    = (*node)(nil)
	_ fs.NodeReader    = (*node)(nil)
	_ fs.NodeWriter    = (*node)(nil)
	_ fs.NodeFsyncer   = (*node)(nil)
	_ fs.NodeGetattrer = (*node)(nil)
	_ fs.NodeSetattrer = (*node)(nil)
	_ fs.NodeStatfser  = (*node)(nil)
)

func (n *node) path(names ...string) string {
	return path.Join(append([]string{"/", n.Path(nil)}, names...)...)
}

// errno is how the kernel wants an error. What has no number of its own, a power
// cut too, is EIO.
func errno(err error) syscall.Errno {
	var number syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &number):
		return number
	case errors.Is(err, iofs.ErrNotExist):
		return syscall.ENOENT
	case errors.Is(err, iofs.ErrExist):
		return syscall.EEXIST
	case errors.Is(err, iofs.ErrInvalid):
		return syscall.EINVAL
	}
	return syscall.EIO
}

// child makes the node of a name that is there, and tells the kernel of it.
func (n *node) child(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	info, err := n.mem.Stat(n.path(name))
	if err != nil {
		return nil, errno(err)
	}
	fill(&out.Attr, info)
	if have := n.GetChild(name); have != nil {
		return have, 0
	}
	c, mode := &node{mem: n.mem}, uint32(syscall.S_IFDIR)
	if !info.Dir {
		mode = syscall.S_IFREG
		if c.file, err = n.mem.Open(n.path(name), vfs.ReadWrite); err != nil {
			return nil, errno(err)
		}
	}
	return n.NewInode(ctx, c, fs.StableAttr{Mode: mode}), 0
}

func fill(a *fuse.Attr, info vfs.Info) {
	a.Mode, a.Nlink = syscall.S_IFREG|0o644, 1
	if info.Dir {
		a.Mode, a.Nlink = syscall.S_IFDIR|0o755, 2
	}
	a.Size, a.Blocks, a.Blksize = uint64(info.Size), uint64(info.Size+511)/512, 4096
	a.SetTimes(&info.ModTime, &info.ModTime, &info.ModTime)
}

func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.child(ctx, name, out)
}

func (n *node) Create(ctx context.Context, name string, flags, _ uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	flag := vfs.ReadWrite | vfs.CreateNew
	if flags&syscall.O_EXCL != 0 {
		flag |= vfs.Exclusive
	}
	if flags&syscall.O_TRUNC != 0 {
		flag |= vfs.Truncate
	}
	if _, err := n.mem.Open(n.path(name), flag); err != nil {
		return nil, nil, 0, errno(err)
	}
	c, code := n.child(ctx, name, out)
	return c, nil, 0, code
}

func (n *node) Mkdir(ctx context.Context, name string, _ uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if err := n.mem.MkdirAll(n.path(name)); err != nil {
		return nil, errno(err)
	}
	return n.child(ctx, name, out)
}

func (n *node) Unlink(_ context.Context, name string) syscall.Errno {
	return errno(n.mem.Remove(n.path(name)))
}

func (n *node) Rmdir(_ context.Context, name string) syscall.Errno {
	if inside, err := n.mem.ReadDir(n.path(name)); err == nil && len(inside) > 0 {
		return syscall.ENOTEMPTY
	}
	return errno(n.mem.Remove(n.path(name)))
}

func (n *node) Rename(_ context.Context, name string, parent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	to, ok := parent.(*node)
	if !ok || flags != 0 {
		return syscall.EINVAL
	}
	return errno(n.mem.Rename(n.path(name), to.path(newName)))
}

func (n *node) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	list, err := n.mem.ReadDir(n.path())
	if err != nil {
		return nil, errno(err)
	}
	out := make([]fuse.DirEntry, len(list))
	for i, info := range list {
		out[i] = fuse.DirEntry{Name: info.Name, Mode: syscall.S_IFREG}
		if info.Dir {
			out[i].Mode = syscall.S_IFDIR
		}
	}
	return fs.NewListDirStream(out), 0
}

func (n *node) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if flags&syscall.O_TRUNC != 0 {
		return nil, 0, errno(n.file.Truncate(0))
	}
	return nil, 0, 0
}

func (n *node) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	done, err := n.file.ReadAt(dest, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errno(err)
	}
	return fuse.ReadResultData(dest[:done]), 0
}

func (n *node) Write(_ context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	done, err := n.file.WriteAt(data, off)
	if done > 0 {
		return uint32(done), 0 // as a kernel does: the error comes with the next
	}
	return 0, errno(err)
}

// Fsync is that of a folder too.
func (n *node) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	if n.file == nil {
		return errno(n.mem.SyncDir(n.path()))
	}
	return errno(n.file.Sync())
}

func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	info, err := n.mem.Stat(n.path())
	if n.file != nil { // whatever its name is now
		info.Dir = false
		info.Size, err = n.file.Size()
	}
	fill(&out.Attr, info)
	return errno(err)
}

// Setattr sets the size; there are no owners, rights and times here.
func (n *node) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, ok := in.GetSize(); ok {
		if n.file == nil {
			return syscall.EISDIR
		}
		if err := n.file.Truncate(int64(size)); err != nil {
			return errno(err)
		}
	}
	return n.Getattr(ctx, f, out)
}

func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	space, err := n.mem.Space(n.path())
	out.Bsize, out.Frsize, out.NameLen = 4096, 4096, 255
	out.Blocks, out.Bfree = uint64(space.Total/4096), uint64(space.Free/4096)
	out.Bavail = out.Bfree
	return errno(err)
}
