/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Every check of `bulkhead audit`, in the order of its table:
 * CHECK(identifier, name, what a failure means, what an attacker would gain).
 * Included several times, each time with another CHECK; so without a guard.
 */

/* The program */
CHECK(EXE_FILE, "exe.file",
      "it does not run the program file that the broker opened",
      "code of somebody else's choice with the descriptors of a device")
CHECK(EXE_SIZE, "exe.size", "the program file has changed since it was opened",
      "code of somebody else's choice with the descriptors of a device")
CHECK(EXE_OWNER, "exe.owner", "the program file belongs to the process's id",
      "a process that can rewrite its own program for the next start")
CHECK(EXE_MODE, "exe.mode",
      "the program file is set-id, or writable for group or others",
      "rights by exec, or a replaced program at the next start")
CHECK(EXE_LOADER, "exe.loader", "the program was started by a dynamic loader",
      "a way to have other code loaded before main()")
CHECK(CMDLINE, "cmdline", "its command line is not the program's name alone",
      "settings that no manifest knows")
CHECK(NAME, "name", "its name is not the program's",
      "a process that hides from the operator")
CHECK(ENVIRON, "environ", "its environment is not empty",
      "the host's secrets, and variables that steer libraries")

/* Its place among the processes */
CHECK(PARENT, "parent", "its parent is not the broker",
      "a life beyond the VM's")
CHECK(STATE, "state", "it is stopped or dead",
      "nothing, but the device does not work")
CHECK(TRACER, "tracer", "a debugger is attached to it",
      "whoever traces it reads and writes all that it can")
CHECK(SESSION, "session", "it is not the leader of its own session",
      "signals to, and a terminal of, other processes")
CHECK(TTY, "tty", "it has a controlling terminal",
      "key strokes pushed into the operator's terminal")
CHECK(PID_ONE, "pid1", "it is not the first process of its pid namespace",
      "sight of other processes")
CHECK(CHILDREN, "children", "it has child processes",
      "processes that outlive it, unaudited")
CHECK(UMASK, "umask", "its umask is not 077", "files that other users can read")
CHECK(PERSONALITY, "personality", "its execution domain is not the plain one",
      "memory without address randomization, or executable data")
CHECK(OOM, "oom", "it is better protected from memory shortage than the broker",
      "the host's other programs die in its place")
CHECK(SCHED_POLICY, "sched.policy", "it runs with real-time priority",
      "a host CPU for itself alone")
CHECK(SCHED_NICE, "sched.nice", "it runs with raised priority",
      "more than its share of the host's CPUs")
CHECK(DUMPABLE, "dumpable", "its memory can be dumped or traced",
      "other processes of its id read the guest's memory")
CHECK(CORE_DUMP, "core-dump", "it is dumping its memory",
      "guest memory in a file")

/* Ids and capabilities */
CHECK(UID, "uid", "its user ids are not the ones that it was given",
      "the files and processes of another user")
CHECK(UID_ROOT, "uid.root", "one of its user or group ids is root's",
      "every file of root")
CHECK(GID, "gid", "its group ids are not the ones that it was given",
      "the files of another group")
CHECK(GROUPS, "groups", "it has supplementary groups",
      "the files and devices of these groups")
CHECK(UID_MAP, "uid-map", "its user namespace maps more than one user",
      "other users' ids, also root's")
CHECK(GID_MAP, "gid-map", "its user namespace maps more than one group",
      "other groups' ids, also root's")
CHECK(CAP_INH, "cap.inheritable", "the inheritable set is not empty",
      "capabilities by exec")
CHECK(CAP_PRM, "cap.permitted", "the permitted set is not empty",
      "capabilities whenever it wants them")
CHECK(CAP_EFF, "cap.effective", "the effective set is not empty",
      "capabilities in its namespaces: mounts, networks, other ids")
CHECK(CAP_BND, "cap.bounding", "the bounding set is not empty",
      "capabilities by executing a file that has some")
CHECK(CAP_AMB, "cap.ambient", "the ambient set is not empty",
      "capabilities that survive exec")
CHECK(SECUREBITS, "securebits",
      "the program did not find its securebits locked",
      "capabilities by becoming root in its namespace")
CHECK(NO_NEW_PRIVS, "no-new-privs", "no_new_privs is not set",
      "rights by executing a set-id file")
CHECK(KEYRING, "keyring", "it has no session keyring of its own",
      "keys of the user who started the VM")

/* System calls */
CHECK(SECCOMP_MODE, "seccomp.mode", "no system call filter is in force",
      "every system call of the kernel, and each of its bugs")
CHECK(SECCOMP_COUNT, "seccomp.count", "not as many filters as its program sets",
      "more system calls")
CHECK(SECCOMP_FILTER, "seccomp.filter",
      "the filter in the kernel is not its program's, instruction by "
      "instruction",
      "system calls that the manifest does not allow")
CHECK(SECCOMP_THREADS, "seccomp.threads",
      "a thread has another filter than declared",
      "system calls in that thread that the manifest does not allow")

/* Namespaces */
CHECK(NS_USER, "ns.user", "its user namespace is not its own",
      "ids and capabilities of others")
CHECK(NS_MNT, "ns.mount", "its mount namespace is not its own",
      "the host's files")
CHECK(NS_PID, "ns.pid", "its pid namespace is not its own",
      "signals to and sight of other processes")
CHECK(NS_NET, "ns.net", "its network namespace is not its own",
      "the host's network and its abstract sockets")
CHECK(NS_IPC, "ns.ipc", "its ipc namespace is not its own",
      "shared memory and queues of the host")
CHECK(NS_UTS, "ns.uts", "its uts namespace is not its own", "the host's name")
CHECK(NS_CGROUP, "ns.cgroup", "its cgroup namespace is not its own",
      "sight of the host's cgroups")
CHECK(NS_CHILDREN, "ns.children",
      "children would live in another pid namespace",
      "processes out of the sandbox")
CHECK(NET_EMPTY, "net.interfaces", "it has a network interface besides lo",
      "a network that no manifest declares")
CHECK(NET_SOCKETS, "net.sockets", "there are sockets in its network namespace",
      "listeners and connections that no manifest declares")
CHECK(CGROUP, "cgroup", "it is not in the broker's cgroup",
      "resources that the VM's limits do not cover")

/* Files */
CHECK(MOUNT_ONE, "mount.one", "there are more mounts than the root",
      "the files of that mount")
CHECK(MOUNT_TYPE, "mount.type", "its root is not a tmpfs", "the host's files")
CHECK(MOUNT_SIZE, "mount.size", "its root has room for data",
      "a place to keep programs and data")
CHECK(MOUNT_RO, "mount.read-only", "its root can be written to",
      "a place to keep programs and data")
CHECK(MOUNT_FLAGS, "mount.flags", "its root lacks nosuid, nodev or noexec",
      "programs and devices of its own making")
CHECK(MOUNT_PRIVATE, "mount.private", "mounts pass between it and the host",
      "mounts of the host that appear in the sandbox")
CHECK(ROOT_EMPTY, "root.empty", "its root is not empty", "these files")
CHECK(ROOT_MODE, "root.mode", "its root can be listed or written to",
      "a folder to work in")
CHECK(CWD, "cwd", "its working directory is not its root",
      "files out of the sandbox by relative paths")
CHECK(LANDLOCK, "landlock", "the program reports no Landlock domain",
      "paths, should the empty root ever be left")
CHECK(MDWE, "mdwe", "memory may become executable",
      "injected machine code instead of mere data")

/* Limits */
CHECK(LIMIT_CORE, "rlimit.core", "core dumps are not switched off",
      "guest memory in a file")
CHECK(LIMIT_MSGQUEUE, "rlimit.msgqueue", "the limit is not the manifest's",
      "kernel memory")
CHECK(LIMIT_RTPRIO, "rlimit.rtprio", "the limit is not the manifest's",
      "real-time priority")
CHECK(LIMIT_NICE, "rlimit.nice", "the limit is not the manifest's",
      "raised priority")
CHECK(LIMIT_SIGPENDING, "rlimit.sigpending", "the limit is not the manifest's",
      "kernel memory")
CHECK(LIMIT_FSIZE, "rlimit.fsize", "the limit is not the manifest's",
      "files larger than declared: a full disk")
CHECK(LIMIT_MEMLOCK, "rlimit.memlock", "the limit is not the manifest's",
      "memory that the host can't take back")
CHECK(LIMIT_NOFILE, "rlimit.nofile", "the limit is not the manifest's",
      "more descriptors than declared")
CHECK(LIMIT_STACK, "rlimit.stack", "the limit is not the manifest's", "memory")
CHECK(LIMIT_NPROC, "rlimit.nproc", "the limit is not the manifest's",
      "a fork bomb")

/* Threads and signals */
CHECK(THREAD_COUNT, "threads.count", "not as many threads as declared",
      "a thread that nobody checks")
CHECK(THREAD_NAMES, "threads.names", "a thread that its program does not make",
      "a thread that nobody checks")
CHECK(THREAD_RIGHTS, "threads.rights",
      "a thread has other ids, capabilities or no_new_privs",
      "what that thread may do")
CHECK(SIGNALS, "signals", "it handles signals that its program does not handle",
      "code that runs at moments that nobody tested")

/* Descriptors */
CHECK(FD_COUNT, "fd.count", "more descriptors than declared",
      "whatever they lead to")
CHECK(FD_NULL, "fd.null", "descriptor 0 or 1 is not /dev/null",
      "the terminal or files of whoever started the VM")
CHECK(FD_LOG, "fd.log", "descriptor 2 is not the write end of a pipe",
      "a file or terminal of the host")
CHECK(FD_CHANNEL, "fd.channel",
      "descriptor 3 is not a message socket to the broker",
      "a peer that is not the broker")
CHECK(FD_KINDS, "fd.kinds", "a descriptor of a kind that is not declared",
      "whatever it leads to")
CHECK(FD_DIRECTORY, "fd.directory", "a folder is open",
      "every file below it, and the way out of the empty root")
CHECK(FD_SOCKETS, "fd.sockets", "a socket that is not declared",
      "a peer outside the family, or descriptors from there")
CHECK(FD_BACKEND, "fd.backend",
      "a file or device is open that is not one of this device's",
      "the data of other devices, VMs or the host")
CHECK(FD_ACCESS, "fd.access", "a descriptor may do more than declared",
      "writing where only reading was meant")
CHECK(FD_MEMORY, "fd.memory", "memory is open that is not this VM's",
      "another VM's memory")
CHECK(FD_SEALS, "fd.seals", "guest memory can change its size",
      "crashes of every process that maps it")
CHECK(FD_KVM, "fd.kvm", "hypervisor descriptors are not the core's",
      "the guest's registers, and the kernel's largest interface")
CHECK(FD_URING, "fd.io-uring", "an io_uring that is not declared",
      "operations that pass the system call filter by")
CHECK(FD_URING_FILES, "fd.io-uring-files",
      "its io_uring may use other files than the disk, or polls by itself",
      "these files, or a CPU")
CHECK(FD_TUN, "fd.tun", "a network interface that is not the VM's",
      "another VM's network")

/* Memory */
CHECK(MAP_WX, "map.wx", "memory is both writable and executable",
      "injected machine code")
CHECK(MAP_EXEC, "map.exec", "memory besides the program's text is executable",
      "injected machine code")
CHECK(MAP_TEXT, "map.text", "the program's text is not there, or shared",
      "code of somebody else's choice")
CHECK(MAP_FILES, "map.files", "a file is mapped that is not declared",
      "its contents")
CHECK(MAP_SHARED, "map.shared", "memory is shared that is not declared",
      "a way to talk to, or spy on, another process")
CHECK(MAP_STACK, "map.stack", "the stack is executable",
      "injected machine code")
CHECK(MAP_LOW, "map.low", "memory is mapped at the lowest addresses",
      "an exploit for each null pointer of the kernel")
CHECK(MAP_COUNT, "map.count", "more mappings than declared",
      "room for what nobody checks")
CHECK(MAP_VSYSCALL, "map.vsyscall",
      "the host maps legacy system calls at a fixed address",
      "gadgets at a known address")
