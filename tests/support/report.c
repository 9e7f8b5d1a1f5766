/* report.c - see report.h. */
#include "report.h"

static cJSON *report_of(program_result r, int status)
{
    if (r.status != status) fail_msg("status %d: %s", r.status, r.err);
    cJSON *o = cJSON_Parse(r.out);
    if (!o) fail_msg("no JSON: %s", r.out);
    program_free(&r);
    return o;
}

cJSON *report(program_result r)
{
    return report_of(r, 0);
}

cJSON *partial_report(program_result r)
{
    return report_of(r, 3);
}

double number(const cJSON *o, const char *key)
{
    const cJSON *n = cJSON_GetObjectItem(o, key);
    if (!cJSON_IsNumber(n)) fail_msg("%s is no number in the report", key);
    return n->valuedouble;
}

const char *text(const cJSON *o, const char *key)
{
    const cJSON *s = cJSON_GetObjectItem(o, key);
    if (!cJSON_IsString(s)) fail_msg("%s is no text in the report", key);
    return s->valuestring;
}
