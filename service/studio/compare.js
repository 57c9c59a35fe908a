export class Compare { constructor(studio) {} open() {} }
