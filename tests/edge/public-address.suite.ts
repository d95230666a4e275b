import { describe, expect, test } from "vitest";
import { isPublicAddress } from "../../edge/services/public-address.ts";

describe("public addresses", () => {
  test.each([
    "1.1.1.1",
    "93.184.216.34",
    "172.32.0.1",
    "100.63.0.1",
    "223.255.255.255",
    "2606:4700::1111",
    "2a00:1450::",
  ])("%s is one", (address) => {
    expect(isPublicAddress(address)).toBe(true);
  });

  const others = `0.0.0.0 10.0.0.1 100.64.0.1 127.0.0.1 127.255.255.255 169.254.169.254 172.16.0.1 172.31.255.255
    192.0.0.1 192.168.1.1 198.18.0.1 198.19.255.255 203.0.113.5 224.0.0.1 240.0.0.1 255.255.255.255
    :: ::1 ::ffff:1.1.1.1 ::ffff:101:101 64:ff9b::1 fc00::1 fd00::1 fe80::1 ff02::1 2001:db8::1 2001::1 2002:a00::1
    3fff::1 1.1.1 1.1.1.1.1 256.1.1.1 01.1.1 1.1.1.1/8 :::1 1:2:3:4:5:6:7:8:9 2606:::1 g::1 localhost`.split(/\s+/);
  test.each([...others, ""])("%j is none", (address) => {
    expect(isPublicAddress(address)).toBe(false);
  });
});
