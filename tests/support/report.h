/* report.h - reads what the program prints with --json. */
#ifndef TESSERA_TEST_REPORT_H
#define TESSERA_TEST_REPORT_H

#include <cjson/cJSON.h>

#include "program.h"

/* The report of a run that must have succeeded; frees `r`. */
cJSON *report(program_result r);
/* The same of a run that left inputs out. */
cJSON *partial_report(program_result r);
/* A member that must be there and of this kind. */
double number(const cJSON *o, const char *key);
const char *text(const cJSON *o, const char *key);

#endif
