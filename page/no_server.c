/* no_server.c - for a build without libmicrohttpd: there is no server, and the command that wants one says so. */
#include "page/page.h"

bool ts_page_built(void)
{
    return false;
}

ts_page *ts_page_new(const ts_page_desc *desc, ts_error *err)
{
    (void)desc;
    ts_fail(err, TS_ERR_UNSUPPORTED,
            "this build has no server: it was made without libmicrohttpd (install libmicrohttpd-dev, then "
            "build again)");
    return NULL;
}

int ts_page_port(const ts_page *p)
{
    (void)p;
    return 0;
}

void ts_page_run(ts_page *p)
{
    (void)p;
}

void ts_page_free(ts_page *p)
{
    (void)p;
}
