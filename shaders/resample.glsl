// resample.glsl - what output o of `outs` takes from an axis of `ins` places: engine/op/resample.c has the formulas. With `choice`
// bicubic, else bilinear. p = ((2 o + 1) ins - outs) / (2 outs) is divided in integers, which hold it for sides below 32768: in
// floats the fraction would be lost where there are thousands of places.
struct Taps {
    ivec4 at;
    vec4 weight;
};

float keys(float d)
{
    const float a = -0.75;
    if (d <= 1.0) return ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0;
    return ((d - 5.0) * d + 8.0) * d * a - 4.0 * a;
}

Taps taps_of(uint o, uint ins, uint outs)
{
    const int two = int(2 * outs);
    int place = int((2 * o + 1) * ins) - int(outs); // p in parts of `two`
    if (choice == 0) place = max(place, 0);
    int whole = place / two, part = place - whole * two;
    if (part < 0) {
        whole--;
        part += two;
    }
    const float t = float(part) / float(two);
    Taps k;
    k.at = clamp(ivec4(whole - 1, whole, whole + 1, whole + 2), ivec4(0), ivec4(int(ins) - 1));
    if (choice == 0) k.weight = vec4(0.0, 1.0 - t, t, 0.0);
    else k.weight = vec4(keys(1.0 + t), keys(t), keys(1.0 - t), keys(2.0 - t));
    return k;
}
