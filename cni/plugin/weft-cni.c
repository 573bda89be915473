// SPDX-License-Identifier: Apache-2.0
// The CNI plugin that a container runtime executes on the host: a client of the node agent that parses nothing. CNI_* go
// to the agent's socket as headers, stdin as the body of `POST /cni`; the answer's body is printed (docs/cni.md).
// VERSION needs no agent, DEL succeeds without one: the agent removes what is left when the pod's namespace is dead.
// Freestanding: no C library, so that one compiler makes the same small file for every architecture (cni/plugin/build.ts).

typedef unsigned long size;
typedef long ssize;

#if defined(__x86_64__)
enum { SYS_read = 0, SYS_write = 1, SYS_socket = 41, SYS_connect = 42, SYS_sendto = 44, SYS_clock = 228, SYS_exit = 231, SYS_ppoll = 271 };
__asm__(".globl _start\n_start: xor %ebp,%ebp; mov %rsp,%rdi; and $-16,%rsp; call start\n");
static long call6(long number, long a, long b, long c, long d, long e, long f) {
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	__asm__ volatile("syscall" : "+a"(number) : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
	return number;
}
#elif defined(__aarch64__)
enum { SYS_read = 63, SYS_write = 64, SYS_ppoll = 73, SYS_exit = 94, SYS_clock = 113, SYS_socket = 198, SYS_connect = 203, SYS_sendto = 206 };
__asm__(".globl _start\n_start: mov x29,#0; mov x30,#0; mov x0,sp; b start\n");
static long call6(long number, long a, long b, long c, long d, long e, long f) {
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
	return x0;
}
#else
#error "no system calls for this architecture"
#endif

#define call(number, a, b, c) call6(number, (long)(a), (long)(b), (long)(c), 0, 0, 0)

enum { ENOENT = 2, EINTR = 4, EAGAIN = 11, ECONNREFUSED = 111 };
enum { AF_UNIX = 1, STREAM_NONBLOCK_CLOEXEC = 1 | 04000 | 02000000, MSG_NOSIGNAL = 0x4000, POLLIN = 1, POLLOUT = 4, CLOCK_MONOTONIC = 1 };

// Error codes of the CNI specification.
enum { BAD_ENVIRONMENT = 4, IO_FAILURE = 5, TRY_AGAIN = 11, NOT_AVAILABLE = 50 };

enum { MAX_BODY = 1 << 20, MAX_HEAD = 32 << 10, MAX_VALUE = 4096, MAX_PATH = 107 };
// The agent answers within its own limits (8 s for an ADD); a restart of the agent is waited for.
enum { ANSWER_MS = 30000, RESTART_MS = 3000, DELETE_MS = 5000, RETRY_MS = 50 };

struct timespec { long seconds, nanoseconds; };
struct poll_fd { int fd; short events, seen; };
struct unix_address { unsigned short family; char path[MAX_PATH + 1]; };

static const char SOCKET_PATH[] = "/run/weft/node/cni.sock";
static const char VERSIONS[] = "{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n";

static char body[MAX_BODY];
static size body_length;
static char head[MAX_HEAD];
static size head_length;
static char answer[MAX_BODY];
static size answer_length;
static char **environment;
static const char *command;

void *memcpy(void *to, const void *from, size length) {
	for (size i = 0; i < length; i++) ((char *)to)[i] = ((const char *)from)[i];
	return to;
}

void *memset(void *to, int value, size length) {
	for (size i = 0; i < length; i++) ((char *)to)[i] = (char)value;
	return to;
}

static size length_of(const char *text) {
	size length = 0;
	while (text[length]) length++;
	return length;
}

static int is_same(const char *a, const char *b) {
	while (*a && *a == *b) a++, b++;
	return *a == *b;
}

// The value of an environment variable; 0 = unset.
static const char *variable(const char *name) {
	size length = length_of(name);
	for (char **entry = environment; *entry; entry++) {
		size i = 0;
		while (i < length && (*entry)[i] == name[i]) i++;
		if (i == length && (*entry)[i] == '=') return *entry + length + 1;
	}
	return 0;
}

__attribute__((noreturn)) static void leave(int code) {
	for (;;) call(SYS_exit, code, 0, 0);
}

static void print(const char *text, size length) {
	while (length > 0) {
		long written = call(SYS_write, 1, text, length);
		if (written == -EINTR) continue;
		if (written <= 0) leave(1);
		text += written, length -= (size)written;
	}
}

static void say(const char *text) {
	print(text, length_of(text));
}

// Prints an error of the CNI specification. A DEL that cannot reach the agent is no error.
__attribute__((noreturn)) static void fail(int code, const char *message, const char *details) {
	char digits[] = {(char)('0' + code / 10), (char)('0' + code % 10), 0};
	if (code != BAD_ENVIRONMENT && is_same(command, "DEL")) leave(0);
	say("{\"cniVersion\":\"1.1.0\",\"code\":");
	say(digits[0] == '0' ? digits + 1 : digits);
	say(",\"msg\":\"weft-cni: ");
	say(message);
	say("\",\"details\":\"");
	say(details);
	say("\"}\n");
	leave(1);
}

// The agent is away: a pod must not start outside the mesh, so the runtime has to come again.
__attribute__((noreturn)) static void fail_away(const char *why) {
	int code = is_same(command, "STATUS") ? NOT_AVAILABLE : TRY_AGAIN;
	fail(code, why, "is the pod of the weft cni DaemonSet running on this node? kubectl -n weft-system get pods -o wide");
}

static long now_ms(void) {
	struct timespec now = {0, 0};
	call(SYS_clock, CLOCK_MONOTONIC, &now, 0);
	return now.seconds * 1000 + now.nanoseconds / 1000000;
}

// Waits until the descriptor is ready or the time has come; fd < 0 only waits. Returns 0 when the time has come. Looks once
// in any case: a machine that stood still for a while has made both sides late.
static int wait_for(int fd, short events, long deadline_ms) {
	for (;;) {
		long left_ms = deadline_ms - now_ms();
		if (left_ms < 0) left_ms = 0;
		struct timespec limit = {left_ms / 1000, left_ms % 1000 * 1000000};
		struct poll_fd waited = {fd, events, 0};
		long ready = call(SYS_ppoll, &waited, fd < 0 ? 0 : 1, &limit);
		if (ready > 0) return 1;
		if (left_ms == 0 || (ready < 0 && ready != -EINTR)) return 0;
	}
}

static void read_body(void) {
	for (;;) {
		if (body_length == MAX_BODY) fail(IO_FAILURE, "the network configuration on stdin is too long", "more than 1 MiB");
		long got = call(SYS_read, 0, body + body_length, MAX_BODY - body_length);
		if (got == -EINTR) continue;
		if (got < 0) fail(IO_FAILURE, "stdin cannot be read", "");
		if (got == 0) return;
		body_length += (size)got;
	}
}

static void add(const char *text) {
	size length = length_of(text);
	if (head_length + length > MAX_HEAD) fail(BAD_ENVIRONMENT, "the environment is too long", "");
	memcpy(head + head_length, text, length);
	head_length += length;
}

// A control character could end the header and begin another one.
static void add_variable(const char *header, const char *name) {
	const char *value = variable(name);
	if (!value || !*value) return;
	size length = length_of(value);
	if (length > MAX_VALUE) fail(BAD_ENVIRONMENT, "a variable of the environment is too long", name);
	for (size i = 0; i < length; i++)
		if ((unsigned char)value[i] < 0x20 || value[i] == 0x7f) fail(BAD_ENVIRONMENT, "a variable has a control character", name);
	add(header), add(value), add("\r\n");
}

static void write_head(void) {
	char digits[24];
	size at = sizeof digits, left = body_length;
	digits[--at] = 0;
	do digits[--at] = (char)('0' + left % 10), left /= 10;
	while (left > 0);
	add("POST /cni HTTP/1.1\r\nHost: weft\r\nConnection: close\r\nContent-Type: application/json\r\n");
	add_variable("X-Cni-Command: ", "CNI_COMMAND");
	add_variable("X-Cni-Containerid: ", "CNI_CONTAINERID");
	add_variable("X-Cni-Netns: ", "CNI_NETNS");
	add_variable("X-Cni-Ifname: ", "CNI_IFNAME");
	add_variable("X-Cni-Args: ", "CNI_ARGS");
	add("Content-Length: "), add(digits + at), add("\r\n\r\n");
}

// Connects; while nobody listens (the agent restarts) it tries again until then.
static int connect_until(long deadline_ms) {
	const char *path = variable("WEFT_CNI_SOCKET");
	if (!path || !*path) path = SOCKET_PATH;
	if (length_of(path) > MAX_PATH) fail(BAD_ENVIRONMENT, "the path of the socket is too long", "WEFT_CNI_SOCKET");
	struct unix_address address;
	memset(&address, 0, sizeof address);
	address.family = AF_UNIX;
	memcpy(address.path, path, length_of(path));
	long fd = call(SYS_socket, AF_UNIX, STREAM_NONBLOCK_CLOEXEC, 0);
	if (fd < 0) fail(IO_FAILURE, "a socket cannot be opened", "");
	for (;;) {
		long result = call(SYS_connect, fd, &address, sizeof address);
		if (result >= 0) return (int)fd;
		if (result == -EINTR) continue;
		if (result != -ENOENT && result != -ECONNREFUSED && result != -EAGAIN) fail_away("the agent's socket cannot be used");
		long again_ms = now_ms() + RETRY_MS;
		if (again_ms >= deadline_ms) fail_away("the node agent does not run");
		wait_for(-1, 0, again_ms);
	}
}

static void send_all(int fd, const char *bytes, size length, long deadline_ms) {
	while (length > 0) {
		if (!wait_for(fd, POLLOUT, deadline_ms)) fail_away("the node agent does not take the request");
		long sent = call6(SYS_sendto, fd, (long)bytes, (long)length, MSG_NOSIGNAL, 0, 0);
		if (sent == -EAGAIN || sent == -EINTR) continue;
		if (sent < 0) return; // it may have answered before it closed
		bytes += sent, length -= (size)sent;
	}
}

static void read_answer(int fd, long deadline_ms) {
	for (;;) {
		if (answer_length == MAX_BODY) fail(IO_FAILURE, "the agent's answer is too long", "");
		if (!wait_for(fd, POLLIN, deadline_ms)) fail_away("the node agent does not answer");
		long got = call(SYS_read, fd, answer + answer_length, MAX_BODY - answer_length);
		if (got == -EAGAIN || got == -EINTR) continue;
		if (got < 0) fail_away("the node agent went away");
		if (got == 0) return;
		answer_length += (size)got;
	}
}

// Prints what follows the empty line. Whole answers end with a newline: an agent that dies meanwhile leaves none.
__attribute__((noreturn)) static void finish(void) {
	size at = 0;
	while (at + 4 <= answer_length && !(answer[at] == '\r' && answer[at + 1] == '\n' && answer[at + 2] == '\r' && answer[at + 3] == '\n')) at++;
	if (at + 4 > answer_length || at < 12 || answer[answer_length - 1] != '\n') fail_away("the node agent went away");
	int is_ok = answer[9] == '2' && answer[10] == '0' && answer[11] == '0'; // "HTTP/1.1 200"
	size length = answer_length - at - 4;
	if (length == 0) fail_away("the node agent went away");
	if (length > 1) print(answer + at + 4, length); // a newline alone says nothing
	leave(is_ok ? 0 : 1);
}

__attribute__((noreturn, used)) void start(long *stack) {
	environment = (char **)(stack + 1 + stack[0] + 1); // argc, argv, 0, environment
	const char *given = variable("CNI_COMMAND");
	command = given ? given : "";
	if (!*command) fail(BAD_ENVIRONMENT, "this is a CNI plugin: a container runtime executes it", "CNI_COMMAND is not set");
	if (is_same(command, "VERSION")) {
		say(VERSIONS);
		leave(0);
	}
	int is_delete = is_same(command, "DEL");
	long began_ms = now_ms();
	read_body();
	write_head();
	int fd = connect_until(began_ms + (is_delete ? 0 : RESTART_MS));
	long deadline_ms = now_ms() + (is_delete ? DELETE_MS : ANSWER_MS);
	send_all(fd, head, head_length, deadline_ms);
	send_all(fd, body, body_length, deadline_ms);
	read_answer(fd, deadline_ms);
	finish();
}
