/* internal.h - what the server's own files share: jobs, lanes, and the files of the page. */
#ifndef TESSERA_PAGE_INTERNAL_H
#define TESSERA_PAGE_INTERNAL_H

#include <pthread.h>

#include "page/request.h"

/* Of the page, embedded at build (cmake/embed.cmake). */
typedef struct {
    const char *path, *type;
    const unsigned char *bytes;
    size_t size;
} page_file;
extern const page_file page_files[]; /* the last has no path */

typedef enum { PAGE_READING, PAGE_WAITING, PAGE_RUNNING, PAGE_DONE } page_stage;

/* A request, from its head to the end of the answer. All but what the worker alone uses is guarded by the page's lock. */
struct ts_page_job {
    ts_page *page;
    const ts_page_route *route;
    int64_t number;
    int refs; /* the connection's and, once it is a job, the lane's */
    page_stage stage;
    bool stream;    /* the client wants events */
    bool suspended; /* its connection waits for us */
    bool closed;    /* its connection is over */
    bool gone;      /* nobody waits for the answer */
    bool late;      /* because its time was over */
    void *connection;
    int fd;
    double deadline; /* ms */
    char *body;
    size_t size, room, passed; /* passed: bytes over, of a body that is refused */
    cJSON *json;               /* the worker's, as the next two */
    int64_t pixels;            /* decoded so far */
    int status;                /* of the answer; 0: not decided */
    const char *type;
    uint8_t *out; /* the answer, or events that were not sent yet */
    size_t out_size, out_room, out_sent;
    ts_page_job *next;          /* in the queue */
    ts_page_job *newer, *older; /* among all jobs */
};

/* Jobs that wait for one thread. */
typedef struct {
    ts_page *page;
    pthread_t thread;
    bool started;
    pthread_cond_t more;
    ts_page_job *first, *last, *running;
    int waiting;
} page_lane;

struct ts_page {
    ts_page_desc desc;
    page_rules rules;
    pthread_mutex_t lock;
    page_lane lane[TS_PAGE_LANES];
    ts_page_job *newest; /* of all jobs */
    size_t held;         /* bytes of bodies that are held */
    bool stopping;
    void (*wake)(ts_page_job *job); /* the job's connection may go on; called with the lock held */
    int port;
    void *server; /* server.c's */
};

double page_now_ms(void);

/* ---- queue.c: with the lock held, but for the first two and page_work ----------------------------------------------- */

bool page_lanes_start(ts_page *p, ts_error *err);
/* Ends the lanes' threads, after what they are doing. */
void page_lanes_stop(ts_page *p);
ts_page_job *page_job_new(ts_page *p);
void page_job_hold(ts_page_job *job);
void page_job_drop(ts_page_job *job);
/* False: the queue is full. */
bool page_job_push(ts_page_job *job);
/* The client has gone, or its time is over: out of the queue, or told to what runs. */
void page_job_leave(ts_page_job *job, bool late);
/* Ends it with that status and sentence. */
void page_job_refuse(ts_page_job *job, int status, const char *why);
/* Does the work of a job in the calling thread. */
void page_work(ts_page_job *job);

#endif
