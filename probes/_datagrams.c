/* The inner loop of the datagram flows: what `probes.sender` and `probes.reflector` do for each packet, compiled.
 *
 * A batch costs an interpreter 100 us, whatever its size; here it costs what its system calls cost. The behaviour is that of
 * the Python code, and the same tests run against both. Rows, packets and token buckets are the numpy arrays of the Python objects.
 *
 * The layouts are those of probes/stamp.py (RFC 8762, RFC 8972) and hitless/records.py. Linux, 64-bit, little-endian.
 */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

enum {
    PACKET_OCTETS = 44,     /* RFC 8762 4.2.1, 4.3.1 */
    TLV_HEADER_OCTETS = 4,  /* RFC 8972 4 */
    EXTRA_PADDING = 1,      /* RFC 8972 4.1 */
    UNRECOGNISED = 0x80,    /* U flag, RFC 8972 4 */
    MALFORMED = 0x40,       /* M flag, RFC 8972 4 */
    TLVS_MAX = 16,          /* as probes.stamp.TLVS_MAX */
    PTP_FORMAT = 0x40,      /* Z bit, RFC 8762 4.2.1 */
    ECHO_HEADER_OCTETS = 8, /* RFC 792 */
    ECHO_REPLY = 0,         /* RFC 792 */
    ECHO_REPLY_6 = 129,     /* RFC 4443 4.2 */
    ADDRESS_OCTETS = 16,    /* as hitless.records.ADDRESS */
    COPIES_MAX = 255,
    SLOTS = 128,            /* datagrams a recvmmsg */
    MESSAGES_MAX = 1024,    /* UIO_MAXIOV: more in one sendmmsg are left over */
    TAKEN_MAX = 8192,       /* datagrams in one go: a flood must not keep the next tick waiting */
    IDS = 1 << 16,          /* values of an SSID */
};
enum { SEQ = 0, TIMESTAMP = 4, SCALE = 12, MULTIPLIER = 13, SSID = 14 };
enum { RECEIVED = 16, SENDER_SEQ = 24, SENDER_TIMESTAMP = 28, SENDER_ERROR = 36, SENDER_TTL = 40 };
/* Where fields lie in a probe and in an answer: probes.stamp.PROBE and ANSWER. */

#define SECOND_NS 1000000000LL
#define NTP_EPOCH_S 2208988800LL /* from 1900 to 1970, RFC 5905 6 */
#define NONE_NS (-1)
#define UNANSWERED 0xFFFFFFFFu

typedef struct __attribute__((packed)) {
    uint32_t flow, seq;
    int64_t send_began_ns, send_ended_ns, received, reflector_received, reflector_sent;
    uint8_t forward_ttl, return_ttl;
    uint32_t reflector_seq;
    uint8_t copies, corrupted;
    uint16_t send_errno, failure;
    uint8_t retransmits;
} SenderRow; /* hitless.records.SENDER_ROW */

typedef struct __attribute__((packed)) {
    uint32_t flow, seq;
    int64_t received, sent;
    uint8_t ttl;
    uint32_t reflector_seq;
    uint8_t source[16];
} ReflectorRow; /* hitless.records.REFLECTOR_ROW */

typedef union {
    struct sockaddr any;
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
} Name;

typedef struct {
    int64_t size;
    int used; /* slots that the last batch took */
    struct mmsghdr headers[SLOTS];
    struct iovec iovecs[SLOTS];
    Name names[SLOTS];
    union {
        char octets[CMSG_SPACE(sizeof(struct timespec)) + CMSG_SPACE(sizeof(int))];
        struct cmsghdr aligned;
    } control[SLOTS];
    uint8_t *payload; /* SLOTS times `size` octets */
} Inbox;

typedef struct {
    int64_t wall_ns;
    int ttl;
} Arrival;

static uint16_t read16(const uint8_t *at) { uint16_t value; memcpy(&value, at, 2); return be16toh(value); }
static uint32_t read32(const uint8_t *at) { uint32_t value; memcpy(&value, at, 4); return be32toh(value); }
static uint64_t read64(const uint8_t *at) { uint64_t value; memcpy(&value, at, 8); return be64toh(value); }
static void write16(uint8_t *at, uint16_t value) { value = htobe16(value); memcpy(at, &value, 2); }
static void write32(uint8_t *at, uint32_t value) { value = htobe32(value); memcpy(at, &value, 4); }
static void write64(uint8_t *at, uint64_t value) { value = htobe64(value); memcpy(at, &value, 8); }

static int64_t read_clock(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * SECOND_NS + time.tv_nsec;
}

/* As probes.stamp.encode_ntp: the fraction is cut off. */
static uint64_t encode_ntp(int64_t wall_ns) {
    uint64_t seconds = (uint64_t)(wall_ns / SECOND_NS), rest_ns = (uint64_t)(wall_ns % SECOND_NS);
    return (seconds + NTP_EPOCH_S) << 32 | (rest_ns << 32) / SECOND_NS;
}

/* As probes.stamp.decode_ntp_batch: rounded; seconds below 2^31 belong to era 1. */
static int64_t decode_ntp(uint64_t timestamp) {
    int64_t seconds = (int64_t)(timestamp >> 32);
    uint64_t rest_ns = ((timestamp & 0xFFFFFFFFu) * SECOND_NS + (1ull << 31)) >> 32;
    if (seconds < 1ll << 31)
        seconds += 1ll << 32;
    return (seconds - NTP_EPOCH_S) * SECOND_NS + (int64_t)rest_ns;
}

static int make_inbox(Inbox *inbox, Py_ssize_t size) {
    memset(inbox, 0, sizeof *inbox);
    inbox->size = size;
    inbox->used = SLOTS;
    inbox->payload = PyMem_Calloc(SLOTS, size);
    if (!inbox->payload) {
        PyErr_NoMemory();
        return -1;
    }
    for (int slot = 0; slot < SLOTS; slot++) {
        inbox->iovecs[slot] = (struct iovec){inbox->payload + slot * size, size};
        inbox->headers[slot].msg_hdr.msg_iov = &inbox->iovecs[slot];
        inbox->headers[slot].msg_hdr.msg_iovlen = 1;
        inbox->headers[slot].msg_hdr.msg_name = &inbox->names[slot];
        inbox->headers[slot].msg_hdr.msg_control = inbox->control[slot].octets;
    }
    return 0;
}

/* Receive what is there, without waiting. Returns the number of datagrams; -1: the socket failed, and the error is set. */
static int receive(Inbox *inbox, int descriptor) {
    for (int slot = 0; slot < inbox->used; slot++) {
        inbox->headers[slot].msg_hdr.msg_namelen = sizeof inbox->names[slot];
        inbox->headers[slot].msg_hdr.msg_controllen = sizeof inbox->control[slot].octets;
    }
    inbox->used = 0;
    int count = recvmmsg(descriptor, inbox->headers, SLOTS, MSG_DONTWAIT | MSG_TRUNC, NULL);
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (count < 0)
        PyErr_SetFromErrno(PyExc_OSError);
    else
        inbox->used = count;
    return count;
}

/* Read what the kernel says beside a datagram. Returns -1 where it does not say when it came, and with which TTL. */
static int read_arrival(Inbox *inbox, int slot, Arrival *arrival) {
    struct msghdr *header = &inbox->headers[slot].msg_hdr;
    int found = 0;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part; part = CMSG_NXTHDR(header, part)) {
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec time;
            memcpy(&time, CMSG_DATA(part), sizeof time);
            arrival->wall_ns = time.tv_sec * SECOND_NS + time.tv_nsec;
            found |= 1;
        } else if ((part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_TTL) ||
                   (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_HOPLIMIT)) {
            memcpy(&arrival->ttl, CMSG_DATA(part), sizeof arrival->ttl);
            found |= 2;
        }
    }
    if (found == 3)
        return 0;
    PyErr_SetString(PyExc_ValueError,
                    "the kernel did not send the control messages SCM_TIMESTAMPNS, and IP_TTL or IPV6_HOPLIMIT");
    return -1;
}

/* Send messages; `refuse` hears of each that the kernel refused, and the call is resumed behind it. */
static void send_all(int descriptor, struct mmsghdr *headers, int count, void (*refuse)(void *, int, int), void *context) {
    for (int position = 0; position < count;) {
        int room = count - position < MESSAGES_MAX ? count - position : MESSAGES_MAX;
        int sent = sendmmsg(descriptor, headers + position, room, MSG_DONTWAIT);
        if (sent > 0)
            position += sent;
        else if (errno != EINTR)
            refuse(context, position++, errno);
    }
}

/* The address as a row has it: an IPv4 address is the IPv4-mapped one. Source: RFC 4291 2.5.5.2. */
static void read_address(const Name *name, uint8_t address[ADDRESS_OCTETS]) {
    static const uint8_t mapped[ADDRESS_OCTETS] = {[10] = 0xFF, [11] = 0xFF};
    if (name->any.sa_family == AF_INET6) {
        memcpy(address, &name->ipv6.sin6_addr, ADDRESS_OCTETS);
        return;
    }
    memcpy(address, mapped, ADDRESS_OCTETS);
    memcpy(address + 12, &name->ipv4.sin_addr, 4);
}

static int is_same_name(const Name *one, const Name *other) {
    if (one->any.sa_family == AF_INET6)
        return one->ipv6.sin6_port == other->ipv6.sin6_port &&
               !memcmp(&one->ipv6.sin6_addr, &other->ipv6.sin6_addr, sizeof one->ipv6.sin6_addr);
    return one->ipv4.sin_port == other->ipv4.sin_port && one->ipv4.sin_addr.s_addr == other->ipv4.sin_addr.s_addr;
}

static int is_probe(const uint8_t *packet, int64_t octets) { return octets >= PACKET_OCTETS && packet[MULTIPLIER] != 0; }

static PyObject *refuse_buffers(PyObject *object) {
    PyErr_SetString(PyExc_ValueError, "the buffers do not fit together");
    Py_DECREF(object);
    return NULL;
}

/* ---- Sender ---- */

typedef struct {
    int descriptor, first, last;
} Pod; /* Its flows are first, ..., last - 1. */

enum { S_PACKETS, S_PEERS, S_PODS, S_IDS, S_INDEX, S_ROWS, S_STAMPS, S_BUFFERS };
enum { S_MALFORMED, S_FOREIGN, S_STALE, S_COUNTED };

typedef struct {
    PyObject_HEAD
    Py_buffer buffers[S_BUFFERS];
    int64_t epoch_ns;
    int header; /* octets before the test packet: 0, or ICMP's 8 */
    int64_t flows, pods, octets, ticks_max, remembered;
    int64_t name_octets; /* of each peer: sockaddr_in or sockaddr_in6 */
    int64_t counters[S_COUNTED]; /* of one `collect` */
    uint32_t turns;
    struct mmsghdr *headers;
    struct iovec *iovecs;
    Inbox inbox;
} Sender;

#define VIEW(self, type, which) ((type *)(self)->buffers[which].buf)

static void free_sender(PyObject *object) {
    Sender *self = (Sender *)object;
    for (int index = 0; index < S_BUFFERS; index++)
        PyBuffer_Release(&self->buffers[index]); /* nothing where none is held */
    PyMem_Free(self->headers);
    PyMem_Free(self->inbox.payload);
    PyTypeObject *type = Py_TYPE(object);
    PyObject_Free(object);
    Py_DECREF(type);
}

static PyObject *make_sender(PyTypeObject *type, PyObject *arguments, PyObject *Py_UNUSED(keywords)) {
    long long epoch_ns;
    Sender *self = (Sender *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (!self)
        return NULL;
    Py_buffer *given = self->buffers;
    if (!PyArg_ParseTuple(arguments, "Liw*y*y*y*y*w*w*", &epoch_ns, &self->header, &given[S_PACKETS], &given[S_PEERS],
                          &given[S_PODS], &given[S_IDS], &given[S_INDEX], &given[S_ROWS], &given[S_STAMPS])) {
        Py_DECREF(self);
        return NULL;
    }
    self->epoch_ns = epoch_ns;
    static const Py_ssize_t least[S_BUFFERS] = {1, 1, sizeof(Pod), 4, IDS * 8, sizeof(SenderRow), 8};
    for (int index = 0; index < S_BUFFERS; index++)
        if (given[index].len < least[index])
            return refuse_buffers((PyObject *)self);
    self->flows = self->buffers[S_IDS].len / 4;
    self->pods = self->buffers[S_PODS].len / (Py_ssize_t)sizeof(Pod);
    self->octets = self->buffers[S_PACKETS].len / self->flows;
    self->ticks_max = self->buffers[S_ROWS].len / (Py_ssize_t)sizeof(SenderRow) / self->flows;
    self->remembered = self->buffers[S_STAMPS].len / 8 / self->pods;
    Pod *pods = VIEW(self, Pod, S_PODS);
    self->name_octets = self->buffers[S_PEERS].len / self->flows;
    int is_wrong = self->octets < self->header + PACKET_OCTETS || self->remembered < 1 ||
                   self->buffers[S_PEERS].len % self->flows ||
                   (self->name_octets != sizeof(struct sockaddr_in) && self->name_octets != sizeof(struct sockaddr_in6));
    for (int index = 0; index < self->pods; index++)
        is_wrong |= pods[index].first < 0 || pods[index].last > self->flows || pods[index].first >= pods[index].last;
    for (int id = 0; id < IDS; id++)
        is_wrong |= VIEW(self, int64_t, S_INDEX)[id] >= self->flows;
    if (is_wrong)
        return refuse_buffers((PyObject *)self);
    self->headers = PyMem_Calloc(self->flows, sizeof *self->headers + sizeof *self->iovecs);
    if (!self->headers) {
        PyErr_NoMemory();
        goto failed;
    }
    self->iovecs = (struct iovec *)(self->headers + self->flows);
    for (int64_t flow = 0; flow < self->flows; flow++) {
        self->iovecs[flow] = (struct iovec){VIEW(self, uint8_t, S_PACKETS) + flow * self->octets, self->octets};
        struct msghdr *message = &self->headers[flow].msg_hdr;
        message->msg_name = VIEW(self, uint8_t, S_PEERS) + flow * self->name_octets;
        message->msg_namelen = self->name_octets;
        message->msg_iov = &self->iovecs[flow];
        message->msg_iovlen = 1;
    }
    if (make_inbox(&self->inbox, self->octets + 64 < 128 ? 128 : self->octets + 64))
        goto failed;
    return (PyObject *)self;
failed:
    Py_DECREF(self);
    return NULL;
}

static void refuse_probe(void *context, int position, int number) { ((SenderRow *)context)[position].send_errno = number; }

/* tick(seq, error): send a probe on every flow; return the longest time from a timestamp to the end of its call, ns. */
static PyObject *sender_tick(PyObject *object, PyObject *arguments) {
    Sender *self = (Sender *)object;
    long long seq;
    int error;
    if (!PyArg_ParseTuple(arguments, "Li", &seq, &error))
        return NULL;
    if (seq < 0 || seq >= self->ticks_max)
        return PyErr_Format(PyExc_ValueError, "the table has no tick %lld", seq);
    SenderRow *rows = VIEW(self, SenderRow, S_ROWS) + seq * self->flows;
    uint64_t *stamps = VIEW(self, uint64_t, S_STAMPS) + seq % self->remembered * self->pods;
    const uint32_t *ids = VIEW(self, uint32_t, S_IDS);
    int64_t longest_ns = 0;
    for (int64_t index = 0; index < self->pods; index++) {
        Pod pod = VIEW(self, Pod, S_PODS)[index];
        int64_t stamped_ns = read_clock(CLOCK_MONOTONIC);
        stamps[index] = encode_ntp(read_clock(CLOCK_REALTIME));
        for (int flow = pod.first; flow < pod.last; flow++) {
            uint8_t *packet = VIEW(self, uint8_t, S_PACKETS) + flow * self->octets;
            if (self->header)
                write16(packet + 6, (uint16_t)seq); /* ICMP's own sequence number */
            write32(packet + self->header + SEQ, (uint32_t)seq);
            write64(packet + self->header + TIMESTAMP, stamps[index]);
            write16(packet + self->header + SCALE, (uint16_t)error);
            rows[flow] = (SenderRow){.flow = ids[flow],
                                     .seq = (uint32_t)seq,
                                     .received = NONE_NS,
                                     .reflector_received = NONE_NS,
                                     .reflector_sent = NONE_NS};
        }
        int64_t before_ns = read_clock(CLOCK_MONOTONIC);
        send_all(pod.descriptor, self->headers + pod.first, pod.last - pod.first, refuse_probe, rows + pod.first);
        int64_t after_ns = read_clock(CLOCK_MONOTONIC);
        for (int flow = pod.first; flow < pod.last; flow++) {
            rows[flow].send_began_ns = before_ns - self->epoch_ns;
            rows[flow].send_ended_ns = after_ns - self->epoch_ns;
        }
        if (after_ns - stamped_ns > longest_ns)
            longest_ns = after_ns - stamped_ns;
    }
    return PyLong_FromLongLong(longest_ns);
}

/* Whether an answer brings back what was sent: timestamp, length and padding. */
static int is_true_echo(Sender *self, const uint8_t *packet, int64_t octets, int64_t flow, int64_t pod, int64_t seq,
                        int64_t ticks) {
    const uint8_t *probe = VIEW(self, uint8_t, S_PACKETS) + flow * self->octets;
    uint64_t sent = VIEW(self, uint64_t, S_STAMPS)[seq % self->remembered * self->pods + pod];
    int is_forgotten = seq < ticks - self->remembered;
    int timestamp = self->header ? self->header + TIMESTAMP : SENDER_TIMESTAMP;
    int padding = self->header + PACKET_OCTETS;
    if (octets != self->octets || (!is_forgotten && read64(packet + timestamp) != sent))
        return 0;
    if (octets == padding)
        return 1;
    if (!self->header && packet[padding] & MALFORMED)
        return 0;
    int skipped = self->header ? padding : padding + 1; /* a reflector changes the flags of the TLV, a kernel nothing */
    return !memcmp(packet + skipped, probe + skipped, octets - skipped);
}

static int take_answer(Sender *self, int slot, int64_t pod, int64_t ticks, int64_t offset_ns) {
    const uint8_t *packet = self->inbox.payload + slot * self->inbox.size;
    int64_t octets = self->inbox.headers[slot].msg_len;
    Arrival arrival;
    if (read_arrival(&self->inbox, slot, &arrival))
        return -1;
    int reply = self->name_octets == sizeof(struct sockaddr_in6) ? ECHO_REPLY_6 : ECHO_REPLY;
    int is_readable = self->header ? octets >= self->header + PACKET_OCTETS && packet[0] == reply
                                   : is_probe(packet, octets) && !(packet[SCALE] & PTP_FORMAT);
    if (!is_readable)
        return self->counters[S_MALFORMED]++, 0;
    int64_t flow = VIEW(self, int64_t, S_INDEX)[read16(packet + self->header + SSID)];
    Pod owner = VIEW(self, Pod, S_PODS)[pod];
    if (flow < owner.first || flow >= owner.last)
        return self->counters[S_FOREIGN]++, 0;
    const Name *peer = (const Name *)(VIEW(self, uint8_t, S_PEERS) + flow * self->name_octets);
    if (!is_same_name(peer, &self->inbox.names[slot]))
        return self->counters[S_FOREIGN]++, 0;
    int64_t seq = read32(packet + (self->header ? self->header + SEQ : SENDER_SEQ));
    if (seq >= ticks)
        return self->counters[S_STALE]++, 0;
    SenderRow *row = VIEW(self, SenderRow, S_ROWS) + seq * self->flows + flow;
    if (row->send_errno)
        return self->counters[S_STALE]++, 0;
    if (!row->copies) {
        row->received = arrival.wall_ns - offset_ns;
        row->return_ttl = arrival.ttl;
        if (!self->header) {
            row->reflector_received = decode_ntp(read64(packet + RECEIVED)) - offset_ns;
            row->reflector_sent = decode_ntp(read64(packet + TIMESTAMP)) - offset_ns;
            row->forward_ttl = packet[SENDER_TTL];
            row->reflector_seq = read32(packet + SEQ);
        }
    }
    row->copies += row->copies < COPIES_MAX;
    if (!is_true_echo(self, packet, octets, flow, pod, seq, ticks))
        row->corrupted = 1;
    return 0;
}

/* collect(ticks, offset_ns): fetch the answers that have come and fill their rows; each time another pod comes first.
 * Returns how many were malformed, foreign, stale. */
static PyObject *sender_collect(PyObject *object, PyObject *arguments) {
    Sender *self = (Sender *)object;
    long long ticks, offset_ns;
    if (!PyArg_ParseTuple(arguments, "LL", &ticks, &offset_ns))
        return NULL;
    if (ticks < 0 || ticks > self->ticks_max)
        return PyErr_Format(PyExc_ValueError, "the table has no %lld ticks", ticks);
    int64_t taken = 0;
    memset(self->counters, 0, sizeof self->counters);
    self->turns++;
    for (int64_t turn = 0; turn < self->pods; turn++) {
        int64_t pod = (self->turns + turn) % self->pods;
        int count;
        do {
            count = receive(&self->inbox, VIEW(self, Pod, S_PODS)[pod].descriptor);
            if (count < 0)
                return NULL;
            for (int slot = 0; slot < count; slot++)
                if (take_answer(self, slot, pod, ticks, offset_ns))
                    return NULL;
            taken += count;
        } while (count == SLOTS && taken < TAKEN_MAX);
    }
    const int64_t *counted = self->counters;
    return Py_BuildValue("lll", counted[S_MALFORMED], counted[S_FOREIGN], counted[S_STALE]);
}

/* ---- Reflector ---- */

typedef struct __attribute__((packed)) {
    int32_t pod; /* -1: none */
    uint32_t id;
    int64_t next_seq;
} ReflectedFlow; /* probes.reflector.FLOW, by SSID */

typedef struct __attribute__((packed)) {
    int32_t descriptor;
    double rate, burst, tokens; /* answers a nanosecond; answers */
    int64_t refilled;
} ReflectingPod; /* probes.reflector.POD */

enum { R_FLOWS, R_SOURCES, R_PODS, R_BUFFERS };
enum { R_MALFORMED, R_FOREIGN, R_PROBES, R_RATE_LIMITED, R_ANSWERED, R_SEND_ERRORS, R_MALFORMED_TLVS, R_COUNTED };

typedef struct {
    PyObject_HEAD
    Py_buffer buffers[R_BUFFERS];
    int64_t epoch_ns, pods, sources, unanswered_left;
    int64_t counters[R_COUNTED]; /* of one `reflect` */
    uint32_t turns;
    struct mmsghdr headers[SLOTS];
    struct iovec iovecs[SLOTS];
    ReflectorRow *row_of[SLOTS];          /* message to its row */
    ReflectorRow rows[TAKEN_MAX + SLOTS]; /* of one `reflect` */
    int64_t kept;
    Inbox inbox;
} Reflector;

static void free_reflector(PyObject *object) {
    Reflector *self = (Reflector *)object;
    for (int index = 0; index < R_BUFFERS; index++)
        PyBuffer_Release(&self->buffers[index]);
    PyMem_Free(self->inbox.payload);
    PyTypeObject *type = Py_TYPE(object);
    PyObject_Free(object);
    Py_DECREF(type);
}

static PyObject *make_reflector(PyTypeObject *type, PyObject *arguments, PyObject *Py_UNUSED(keywords)) {
    long long epoch_ns, unanswered_max;
    Py_ssize_t octets;
    Reflector *self = (Reflector *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (!self)
        return NULL;
    Py_buffer *given = self->buffers;
    if (!PyArg_ParseTuple(arguments, "LnLw*y*w*", &epoch_ns, &octets, &unanswered_max, &given[R_FLOWS], &given[R_SOURCES],
                          &given[R_PODS])) {
        Py_DECREF(self);
        return NULL;
    }
    self->epoch_ns = epoch_ns;
    self->unanswered_left = unanswered_max;
    static const Py_ssize_t least[R_BUFFERS] = {IDS * sizeof(ReflectedFlow), IDS * ADDRESS_OCTETS, sizeof(ReflectingPod)};
    int is_wrong = octets < PACKET_OCTETS;
    for (int index = 0; index < R_BUFFERS; index++)
        is_wrong |= given[index].len < least[index];
    if (is_wrong)
        return refuse_buffers((PyObject *)self);
    self->pods = self->buffers[R_PODS].len / (Py_ssize_t)sizeof(ReflectingPod);
    self->sources = self->buffers[R_SOURCES].len / ADDRESS_OCTETS / IDS;
    if (make_inbox(&self->inbox, octets)) {
        Py_DECREF(self);
        return NULL;
    }
    for (int message = 0; message < SLOTS; message++) {
        self->headers[message].msg_hdr.msg_iov = &self->iovecs[message];
        self->headers[message].msg_hdr.msg_iovlen = 1;
    }
    return (PyObject *)self;
}

/* Whether a probe names a flow that ends in this pod and comes from where that flow comes from. */
static int is_ours(Reflector *self, const uint8_t *packet, int64_t pod, const uint8_t *address) {
    uint16_t flow = read16(packet + SSID);
    const uint8_t *sources = VIEW(self, uint8_t, R_SOURCES) + flow * self->sources * ADDRESS_OCTETS;
    if (VIEW(self, ReflectedFlow, R_FLOWS)[flow].pod != pod)
        return 0;
    for (int64_t index = 0; index < self->sources; index++)
        if (!memcmp(sources + index * ADDRESS_OCTETS, address, ADDRESS_OCTETS))
            return 1;
    return 0;
}

/* As probes.stamp.mark_tlvs: returns whether one is malformed. */
static int mark_tlvs(uint8_t *packet, int64_t octets) {
    int64_t position = PACKET_OCTETS;
    for (int count = 0; count < TLVS_MAX && position < octets; count++) {
        int64_t left = octets - position;
        int64_t size = left < TLV_HEADER_OCTETS ? 0 : TLV_HEADER_OCTETS + read16(packet + position + 2);
        if (!size || size > left) {
            packet[position] |= MALFORMED;
            return 1;
        }
        packet[position] = packet[position + 1] == EXTRA_PADDING ? 0 : UNRECOGNISED;
        position += size;
    }
    return 0;
}

/* Turn a probe into its answer where it lies; the timestamp is left to `send_answers`. Source: RFC 8762 4.3.1. */
static void turn_into_answer(uint8_t *packet, uint32_t seq, const Arrival *arrival, int error) {
    uint8_t probe[SSID];
    memcpy(probe, packet, sizeof probe);
    memset(packet + RECEIVED, 0, PACKET_OCTETS - RECEIVED);
    write32(packet + SEQ, seq);
    write16(packet + SCALE, (uint16_t)error);
    write64(packet + RECEIVED, encode_ntp(arrival->wall_ns));
    memcpy(packet + SENDER_SEQ, probe + SEQ, 4);
    memcpy(packet + SENDER_TIMESTAMP, probe + TIMESTAMP, 8);
    memcpy(packet + SENDER_ERROR, probe + SCALE, 2);
    packet[SENDER_TTL] = (uint8_t)arrival->ttl;
}

static void refuse_answer(void *context, int position, int Py_UNUSED(number)) {
    Reflector *self = context;
    self->row_of[position]->sent = NONE_NS;
    self->counters[R_SEND_ERRORS]++;
    self->counters[R_ANSWERED]--;
}

/* Send the answers of one pod, all with the time just before the call. */
static void send_answers(Reflector *self, int descriptor, int messages) {
    if (!messages)
        return;
    uint64_t timestamp = encode_ntp(read_clock(CLOCK_REALTIME));
    int64_t sent_ns = read_clock(CLOCK_MONOTONIC) - self->epoch_ns;
    for (int message = 0; message < messages; message++) {
        write64((uint8_t *)self->iovecs[message].iov_base + TIMESTAMP, timestamp);
        self->row_of[message]->sent = sent_ns;
    }
    self->counters[R_ANSWERED] += messages;
    send_all(descriptor, self->headers, messages, refuse_answer, self);
}

static void refill(ReflectingPod *pod, int64_t now_ns) {
    double filled = pod->tokens + pod->rate * (double)(now_ns - pod->refilled);
    pod->tokens = filled < pod->burst ? filled : pod->burst;
    pod->refilled = now_ns;
}

/* Answer a batch that came to one pod. */
static int answer_batch(Reflector *self, int64_t number, int count, int error, int64_t offset_ns) {
    int64_t *counters = self->counters;
    ReflectingPod *pod = VIEW(self, ReflectingPod, R_PODS) + number;
    int messages = 0;
    refill(pod, read_clock(CLOCK_MONOTONIC) - self->epoch_ns);
    for (int slot = 0; slot < count; slot++) {
        uint8_t *packet = self->inbox.payload + slot * self->inbox.size;
        int64_t octets = self->inbox.headers[slot].msg_len;
        Name *name = &self->inbox.names[slot];
        uint8_t address[ADDRESS_OCTETS];
        Arrival arrival;
        if (read_arrival(&self->inbox, slot, &arrival))
            return -1;
        if (!is_probe(packet, octets) || octets > self->inbox.size) {
            counters[R_MALFORMED]++;
            continue;
        }
        read_address(name, address);
        if (!is_ours(self, packet, number, address)) {
            counters[R_FOREIGN]++;
            continue;
        }
        counters[R_PROBES]++;
        int is_allowed = pod->tokens >= 1; /* of the pod's bucket */
        pod->tokens -= is_allowed;
        if (!is_allowed) {
            counters[R_RATE_LIMITED]++;
            if (self->unanswered_left-- <= 0)
                continue;
        }
        ReflectedFlow *flow = VIEW(self, ReflectedFlow, R_FLOWS) + read16(packet + SSID);
        ReflectorRow *row = &self->rows[self->kept++];
        *row = (ReflectorRow){.flow = flow->id,
                              .seq = read32(packet + SEQ),
                              .received = arrival.wall_ns - offset_ns,
                              .sent = NONE_NS,
                              .ttl = arrival.ttl,
                              .reflector_seq = UNANSWERED};
        memcpy(row->source, address, ADDRESS_OCTETS);
        if (!is_allowed)
            continue;
        row->reflector_seq = (uint32_t)flow->next_seq++;
        turn_into_answer(packet, row->reflector_seq, &arrival, error);
        counters[R_MALFORMED_TLVS] += mark_tlvs(packet, octets);
        self->row_of[messages] = row;
        self->iovecs[messages] = (struct iovec){packet, octets};
        self->headers[messages].msg_hdr.msg_name = name;
        self->headers[messages++].msg_hdr.msg_namelen = self->inbox.headers[slot].msg_hdr.msg_namelen;
    }
    send_answers(self, pod->descriptor, messages);
    return 0;
}

/* reflect(pods, error, offset_ns): answer what has come to these pods, a list of their numbers. Returns the rows of the log and
 * the counters, in the order of their names in probes/reflector.py. */
static PyObject *reflector_reflect(PyObject *object, PyObject *arguments) {
    Reflector *self = (Reflector *)object;
    PyObject *ready;
    int error;
    long long offset_ns;
    if (!PyArg_ParseTuple(arguments, "OiL", &ready, &error, &offset_ns))
        return NULL;
    Py_ssize_t waiting = PyList_Size(ready);
    if (waiting < 0)
        return NULL;
    self->kept = 0;
    memset(self->counters, 0, sizeof self->counters);
    self->turns++;
    int64_t taken = 0;
    for (Py_ssize_t turn = 0; turn < waiting; turn++) {
        long pod = PyLong_AsLong(PyList_GetItem(ready, (Py_ssize_t)(self->turns + turn) % waiting));
        if (pod < 0 || pod >= self->pods) {
            if (!PyErr_Occurred())
                PyErr_Format(PyExc_ValueError, "there is no pod %ld", pod);
            return NULL;
        }
        int count = SLOTS;
        while (count == SLOTS && taken < TAKEN_MAX) {
            count = receive(&self->inbox, VIEW(self, ReflectingPod, R_PODS)[pod].descriptor);
            if (count < 0 || answer_batch(self, pod, count, error, offset_ns))
                return NULL;
            taken += count;
        }
    }
    const int64_t *counted = self->counters; /* long: a 64-bit Linux */
    return Py_BuildValue("y#(lllllll)", (const char *)self->rows, self->kept * (Py_ssize_t)sizeof *self->rows, counted[0],
                         counted[1], counted[2], counted[3], counted[4], counted[5], counted[6]);
}

/* ---- Module ---- */

static PyMethodDef sender_methods[] = {
    {"tick", sender_tick, METH_VARARGS, "tick(seq, error): send a probe on every flow; return the longest call, ns."},
    {"collect", sender_collect, METH_VARARGS, "collect(ticks, offset_ns): fill the rows of the answers that have come."},
    {NULL, NULL, 0, NULL},
};
static PyMethodDef reflector_methods[] = {
    {"reflect", reflector_reflect, METH_VARARGS, "reflect(pods, error, offset_ns): answer; return the rows of the log."},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot sender_slots[] = {
    {Py_tp_new, make_sender}, {Py_tp_dealloc, free_sender}, {Py_tp_methods, sender_methods}, {0, NULL}};
static PyType_Slot reflector_slots[] = {
    {Py_tp_new, make_reflector}, {Py_tp_dealloc, free_reflector}, {Py_tp_methods, reflector_methods}, {0, NULL}};
static PyType_Spec sender_spec = {
    .name = "probes._datagrams.Sender",
    .basicsize = sizeof(Sender),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = sender_slots,
};
static PyType_Spec reflector_spec = {
    .name = "probes._datagrams.Reflector",
    .basicsize = sizeof(Reflector),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = reflector_slots,
};

static int fill_module(PyObject *module) {
    PyObject *sender = PyType_FromSpec(&sender_spec), *reflector = PyType_FromSpec(&reflector_spec);
    int is_wrong = !sender || !reflector || PyModule_AddObjectRef(module, "Sender", sender) ||
                   PyModule_AddObjectRef(module, "Reflector", reflector);
    Py_XDECREF(sender);
    Py_XDECREF(reflector);
    return is_wrong ? -1 : 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, fill_module}, {0, NULL}};
static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_datagrams", .m_doc = "The inner loop of the datagram flows.", .m_slots = module_slots};

PyMODINIT_FUNC PyInit__datagrams(void) { return PyModuleDef_Init(&module_definition); }
