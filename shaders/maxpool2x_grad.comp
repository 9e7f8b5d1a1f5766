#version 460
// dx[n, h, w, c] = dy[n, h / 2, w / 2, c] where x[n, h, w, c] is the largest of its four, of equal ones the first by rows; else, and
// in a last odd row or column, 0.
// Push: x, dy, dx; x and dx (images, height, width, channels), dy (images, height / 2, width / 2, channels), channels in units.
// Specialisation: elementwise.glsl, wide.glsl. Dispatch: an invocation a unit of dx.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"
#include "wide.glsl"

layout(push_constant, scalar) uniform Push {
    InReal x, dy;
    OutReal dx;
    uint images, height, width, channels;
};

void main()
{
    const uint i = item_index(), rows = height / 2, columns = width / 2;
    if (i >= images * height * width * channels) return;
    const uint pixel = i / channels, line = pixel / width, image = line / height;
    const uint h = line - image * height, w = pixel - line * width, c = i - pixel * channels;
    vec4 slope = vec4(0.0);
    if (h < 2 * rows && w < 2 * columns) {
        const uint first = ((line - h % 2) * width + w - w % 2) * channels + c, self = (h % 2) * 2 + w % 2;
        const vec4 mine = load_unit(x, i);
        slope = load_unit(dy, ((image * rows + h / 2) * columns + w / 2) * channels + c);
        for (uint k = 0; k < 4; k++) {
            const vec4 other = load_unit(x, first + ((k / 2) * width + k % 2) * channels);
            // One before it must be smaller, one after it may be as large.
            if (k < self) slope = mix(vec4(0.0), slope, lessThan(other, mine));
            if (k > self) slope = mix(vec4(0.0), slope, lessThanEqual(other, mine));
        }
    }
    store_unit(dx, i, slope);
}
